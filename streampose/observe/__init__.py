"""Watching a running pipeline from outside: Prometheus, health, logs, spans, the service manager."""
