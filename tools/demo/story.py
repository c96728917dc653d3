"""What the demo prints: chapters, a timeline as it happens, and promises kept or not."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text


@dataclass(slots=True)
class Story:
    """The narrator; remembers which promises were kept."""

    console: Console = field(default_factory=lambda: Console(highlight=False))
    kept: list[tuple[str, bool, str]] = field(default_factory=list)

    def title(self, name: str, line: str) -> None:
        """Open the demo."""
        self.console.print(Panel(Text(line, justify="center"), title=f"[bold]{name}", border_style="cyan"))

    def chapter(self, name: str) -> None:
        """Begin a part."""
        self.console.print()
        self.console.print(Rule(f"[bold cyan]{name}", align="left", style="cyan"))

    def moment(self, seconds: float, name: str, what: str, style: str = "white") -> None:
        """One line of the timeline; ``seconds`` since the INVITE."""
        self.console.print(f"  [dim]{seconds:7.2f} s[/]  [bold {style}]{name:<11}[/] {what}")

    def fact(self, name: str, what: str) -> None:
        """A thing to look at."""
        self.console.print(f"  [bold]{name:<12}[/] {what}", soft_wrap=True)

    def command(self, line: str) -> None:
        """A command as an operator would type it."""
        self.console.print(f"  [dim]$[/] [green]{line}[/]", soft_wrap=True)

    def output(self, text: str, style: str = "dim") -> None:
        """What a command said."""
        for line in text.strip().splitlines():
            self.console.print(Text("    " + line, style=style), soft_wrap=True)

    def promise(self, name: str, kept: bool, measured: str = "") -> None:
        """Note whether a promise was kept; printed at the end."""
        self.kept.append((name, kept, measured))

    def verdict(self) -> bool:
        """Print all promises; returns whether all were kept."""
        table = Table(box=None, padding=(0, 1), show_header=False)
        for name, kept, measured in self.kept:
            mark = "[bold green]✔" if kept else "[bold red]✘"
            table.add_row(mark, name, f"[dim]{measured}")
        good = all(kept for _, kept, _ in self.kept)
        style = "green" if good else "red"
        title = "[bold]every promise kept" if good else "[bold]a promise was broken"
        self.console.print()
        self.console.print(Panel(table, title=title, border_style=style))
        return good
