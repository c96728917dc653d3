"""The life of a call: pure tables and machine, and the driver that runs them."""

from recproxy.call.driver import Driver, EventSink, MediaPort, Ports, SipPort
from recproxy.call.machine import CallMachine, Decider, Limits

__all__ = ["CallMachine", "Decider", "Driver", "EventSink", "Limits", "MediaPort", "Ports", "SipPort"]
