"""Colours of verdicts and findings in a terminal."""

from trainability.doctor.view import Tone

SEVERITY_STYLES = {"error": "red", "warning": "yellow", "hint": "cyan"}
TONE_STYLES: dict[Tone, str] = {"good": "green", "open": "yellow", "bad": "red"}
