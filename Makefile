# Short names for what the two scripts do; `bash run_train.sh` and `bash run_tests.sh` are the commands to remember.
.PHONY: train test slow format wheel clean

train:
	bash run_train.sh

test:
	bash run_tests.sh

slow:
	bash run_tests.sh --slow

format:
	ruff format .
	ruff check --fix .

wheel:
	python -m pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
