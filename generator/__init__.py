"""Work: claim, render, store, record, post. torch stays inside `generator.engines`."""
