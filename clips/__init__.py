"""The core: what a request, a take and a clip are, and every fact about them. Knows neither Discord nor torch."""
