"""Recordings from end to end: lossless, resumable, with passes that know what comes later."""
