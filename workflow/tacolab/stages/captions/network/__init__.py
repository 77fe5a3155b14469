"""Captions by networks on this machine: OFA, as TACO's authors did, or any of `transformers`."""
