# The two commands of the README, and what they need.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Environment of gpu-dry, 5 GB: torch as it is built for CUDA.
GPU_DRY ?= .venv-gpu-dry
ifneq ($(words $(filter-out .venv,$(GPU_DRY))),1)
$(error GPU_DRY="$(GPU_DRY)": name one folder of its own, by a path without spaces)
endif
FAST := $(addprefix tests/gpu_dry/test_,device.py fast.py noise.py)
# Numbers and times here are of a CPU, on machines with a GPU, too.
export PRDIT_CPU := 1

quickstart: .venv/done  ## from DICOM to Table 1 on this machine's CPU
	snakemake --profile workflow/profiles/local --configfile config/quickstart.yaml
	@echo "Done. Tables, figures and volumes are in results/quickstart; results/README.md says what is where."

test: lint quickstart  ## everything fast; under 20 minutes on two cores
	pytest -n 2 --dist worksteal -m "not slow and not slurm"

test-fast: .venv/done  ## while working: two minutes on two cores
	pytest -n 2 --dist worksteal -m "not slow and not slurm and not long"

miniature: .venv/done  ## every table in miniature
	snakemake --profile workflow/profiles/local --configfile config/miniature.yaml

test-full: miniature  ## whatever `make test` leaves out
	pytest -n 2 --dist worksteal -m slow
	pytest -m slurm

gpu-dry: gpu-dry-80 gpu-dry-90 gpu-dry-100  ## what GPUs would do, without one (docs/gpu.md); -j2 takes two cores
	$(if $(RECORD),$(PYTHON) tests/gpu_dry/table.py)

gpu-dry-fast: $(GPU_DRY)/done  ## of it, what CI runs: a training step and a sampling step
	$(PYTHON) tests/gpu_dry/launch.py $(GPU_DRY) 80 $(FAST)

gpu-dry-80 gpu-dry-90: gpu-dry-%: $(GPU_DRY)/done  ## all networks of all configs; RECORD=1 writes its bounds anew
	$(PYTHON) tests/gpu_dry/launch.py $(GPU_DRY) $* tests/gpu_dry --durations=0 $(if $(RECORD),--record)

gpu-dry-100: $(GPU_DRY)/done
	$(PYTHON) tests/gpu_dry/launch.py $(GPU_DRY) 100 $(FAST) $(if $(RECORD),--record)

test-slurm: quickstart  ## on a real scheduler of one node, which is installed (as root, on Debian)
	pytest -m slurm -s

lint: .venv/done
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules workflow/Snakefile
	mypy
	snakemake --lint --configfile config/quickstart.yaml

format: .venv/done
	ruff check --fix .
	ruff format .
	snakefmt Snakefile rules workflow/Snakefile

schema: .venv/done  ## after a change of prdit/config/
	python -m prdit schema > workflow/schemas/config.schema.json
	python -m prdit schema --markdown > docs/configuration.md

# PyTorch's own indexes have what PyPI has not; versions there end in the build's name.
envs:  ## after a change of envs/train.yaml or envs/score.yaml: the same for the other values of torch_build
	for build in cu126 cu130 cpu; do mkdir -p envs/$$build; for env in train score; do \
		{ echo "# Made by \`make envs\`: envs/$$env.yaml with PyTorch's build $$build (torch_build in the config)."; \
		sed "s|^\( *- \)\(torch==.*\)|\1--extra-index-url https://download.pytorch.org/whl/$$build\n\1\2+$$build|" \
		envs/$$env.yaml; } > envs/$$build/$$env.yaml; done; done

graph: .venv/done  ## after a change of rules; needs graphviz
	snakemake --rulegraph --configfile config/paper.yaml | tred | dot -Tsvg -Gsize=12 > prdit/report/static/workflow.svg

gpu:  ## what only a real GPU can show, half an hour; benchmarks/README.md
	env -u PRDIT_CPU $(PYTHON) benchmarks/gpu.py

# The file says that the installation came to its end, whatever may have stopped one before.
.venv/done: requirements.lock
	rm -rf .venv
	$(PYTHON) -c 'import sys; sys.exit("prdit needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	touch .venv/done

# Made anew only if the requirements are others, not for a later date of theirs. `--clear` empties an
# environment that this rule has made, or begun; any other folder is left alone.
$(GPU_DRY)/done: tests/gpu_dry/requirements.txt
	@test ! -e $(GPU_DRY) -o -f $(GPU_DRY)/gpu-dry.txt || \
	  { echo "GPU_DRY=$(GPU_DRY) is there, and was not made for this; name another folder"; exit 2; }
	cmp -s $< $@ || { $(PYTHON) -m venv --clear $(GPU_DRY) && touch $(GPU_DRY)/gpu-dry.txt \
	  && $(GPU_DRY)/bin/pip install --quiet --disable-pip-version-check -r $< && cp $< $@; }
	touch $@

clean:  ## results and environment
	rm -rf .venv .venv-gpu-dry .snakemake results/quickstart

.PHONY: gpu quickstart miniature test test-fast test-full test-slurm gpu-dry gpu-dry-fast gpu-dry-80 gpu-dry-90 \
  gpu-dry-100 lint format schema envs graph clean
