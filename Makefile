.PHONY: demo test slow hours lint types docs numbers golden assets clean

PY = .venv/bin/python

demo:      ## install and clean the bundled recording
	sh scripts/demo.sh
test:      ## install and run all quick checks
	sh scripts/test.sh
slow:      ## the long checks
	$(PY) -m pytest -n 2 -q -m slow
hours:     ## ten-hour files: memory (an hour, 14 GB of disk)
	$(PY) -m pytest -q -m hours
lint:      ## style
	$(PY) -m ruff check .
types:     ## types
	$(PY) -m mypy
docs:      ## write docs/cli.md and docs/methods.md from the code
	$(PY) scripts/docs.py
numbers:   ## measure speed and sound again, write docs/numbers.md (needs the recordings; an hour)
	$(PY) bench/gen.py
golden:    ## freeze the sound of all methods anew, after a change that is meant to change it
	$(PY) tests/golden/make_golden.py
assets:    ## make the bundled recording again (needs espeak-ng)
	$(PY) bench/make_demo_audio.py
clean:
	rm -rf .venv build dist demo_output .pytest_cache .mypy_cache .ruff_cache
