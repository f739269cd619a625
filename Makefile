# Try it: make demo. Change it: make test.

.PHONY: demo test check bench clean

# Starts everything on this machine and animates a photo; Ctrl-C stops it.
#   ONCE=1          end after the first clip
#   MODEL=name      a model of the catalogue instead of the sketch
#   PHOTO=path      another photo      MOTION="words"   what should move      PORT=number   the page's port
# The words go through the environment, where no shell takes them for its own.
options = $(if $(ONCE),--once) $(if $(MODEL),--model "$$MODEL") $(if $(PHOTO),--photo "$$PHOTO") \
  $(if $(MOTION),--motion "$$MOTION") $(if $(PORT),--port "$$PORT")

demo:
	@sh deploy/setup.sh demo
	@$(if $(filter-out sketch,$(MODEL)),.venv/bin/zoetrope demo --check $(options) && sh deploy/setup.sh generator)
	@exec .venv/bin/zoetrope demo $(options)

# Three at a time, also on two cores: most of a test's time is waiting for processes and sockets.
test: check
	@exec .venv/bin/python -m pytest -n 3 --dist worksteal $(ARGS)

check:
	@sh deploy/setup.sh test
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/basedpyright
	.venv/bin/lint-imports

# Beside pgqueuer, procrastinate and export_to_video; ARGS goes to the benchmark.
bench:
	@sh deploy/setup.sh bench
	@exec .venv/bin/python -m bench $(ARGS)

# Leaves .zoetrope alone: that is where requests and clips are.
clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache bench/out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
