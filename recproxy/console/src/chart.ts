// Charts as inline SVG. What a chart shows is in a table beside it too, for who cannot see it.

import { element, shape } from "./dom";
import { number } from "./format";

export interface Stack {
  readonly label: string;
  readonly parts: readonly { readonly series: string; readonly value: number }[];
}

const WIDTH = 720;
const HEIGHT = 240;
const MARGIN = { top: 20, right: 8, bottom: 40, left: 8 };
const COLOURS = 6;

/** Stacked columns, with a legend; colours are classes, so that they follow light and dark. */
export function columns(title: string, stacks: readonly Stack[]): HTMLElement {
  const series = [...new Set(stacks.flatMap((stack) => stack.parts.map((part) => part.series)))];
  const colour = (name: string): string => `series-${series.indexOf(name) % COLOURS}`;
  const most = Math.max(1, ...stacks.map(total));
  const step = (WIDTH - MARGIN.left - MARGIN.right) / Math.max(1, stacks.length);
  const scale = (HEIGHT - MARGIN.top - MARGIN.bottom) / most;
  const drawn = stacks.flatMap((stack, at) => {
    const x = MARGIN.left + at * step + step * 0.15;
    let y = HEIGHT - MARGIN.bottom;
    const bars = stack.parts.map((part) => {
      y -= part.value * scale;
      return shape(
        "rect",
        { x, y, width: step * 0.7, height: part.value * scale, class: colour(part.series) },
        shape("title", {}, `${stack.label}, ${part.series}: ${number(part.value)}`),
      );
    });
    const middle = x + step * 0.35;
    const count = total(stack);
    return [
      ...bars,
      count > 0 ? shape("text", { x: middle, y: y - 6, class: "value" }, number(count)) : null,
      shape("text", { x: middle, y: HEIGHT - MARGIN.bottom + 18, class: "tick" }, stack.label),
    ];
  });
  const base = HEIGHT - MARGIN.bottom;
  return element(
    "figure",
    { class: "chart" },
    element("figcaption", {}, title),
    shape(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title },
      ...drawn,
      shape("line", { x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: base, y2: base, class: "axis" }),
    ),
    element(
      "ul",
      { class: "legend" },
      ...series.map((name) =>
        element("li", {}, shape("svg", { viewBox: "0 0 10 10", class: "key", "aria-hidden": "true" },
          shape("rect", { width: 10, height: 10, class: colour(name) })), name),
      ),
    ),
  );
}

export interface Span {
  readonly label: string;
  readonly kind: "notice" | "recorded";
  readonly from: number;
  readonly to: number;
}

/** Spans of time after one another on one line; ``from`` and ``to`` in any unit. */
export function course(title: string, spans: readonly Span[]): SVGSVGElement {
  const begin = Math.min(...spans.map((span) => span.from));
  const length = Math.max(1, Math.max(...spans.map((span) => span.to)) - begin);
  const place = (at: number): number => ((at - begin) / length) * WIDTH;
  return shape(
    "svg",
    { viewBox: `0 0 ${WIDTH} 14`, role: "img", "aria-label": title, class: "course" },
    ...spans.map((span) => {
      const [x, width] = [place(span.from), Math.max(2, place(span.to) - place(span.from))];
      return shape("rect", { x, width, height: 14, rx: 2, class: span.kind }, shape("title", {}, span.label));
    }),
  );
}

function total(stack: Stack): number {
  return stack.parts.reduce((sum, part) => sum + part.value, 0);
}
