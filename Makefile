# make demo: a portrait speaks on Blender's timeline; results in demo/; ENGINE=dae-talker: the built-in actor instead
# make showcase: the stock portraits speak side by side; WEIGHTS=file.safetensors to try others
# make test: the test suite
# make proofs: the slow tests: killed servers, trainings that go on, parity with the published networks, TLS, bench
# make faults: kills, full disks, fuzz, soak and more, on real processes; CASES=names for some of them, SCALE=0.1 for a tenth
# make train ICT=ict.npz MINUTES=20: synthetic people, a slice of training (again to go on), weights; results in runs/
# make ablations ACTOR=runs/actor CORPUS=corpus/actor: DAE-Talker in 1 to 100 steps, without its pose adaptor, and with
#   landmarks for latents; CLIPS=3 unseen clips of FRAMES=75, PRECISION=bf16 where the run had it
# make gui: a real Blender on a virtual display, worked with mouse and keyboard; BLENDER=/path or CHROOT=folder
# make lint: ruff, mypy, buf

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PROTOS := protos/backend.py $(wildcard protos/posedub/v1/*.proto)
# Where Python may write no bytecode, each of the tests' many processes compiles torch for five seconds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo showcase test proofs faults gui lint train ablations environment

demo: $(READY)
	@$(BIN)/python -m tests.demo.run --out demo $(if $(ENGINE),--engine "$(ENGINE)") \
	  $(if $(PORTRAIT),--portrait "$(PORTRAIT)") $(if $(AUDIO),--audio "$(AUDIO)") $(if $(POSE),--pose "$(POSE)")

showcase: $(READY)
	@$(BIN)/python -m tests.demo.showcase --out demo $(if $(WEIGHTS),--weights "$(WEIGHTS)")

test: $(READY)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

proofs: $(READY)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m slow

faults: $(READY)
	@$(BIN)/python -m tests.faults.run $(CASES) --scale $(or $(SCALE),1)

gui: $(READY)
	@$(BIN)/python -m tests.gui.run --out gui \
	  $(if $(BLENDER),--blender "$(BLENDER)") $(if $(CHROOT),--chroot "$(CHROOT)") $(if $(WEIGHTS),--weights "$(WEIGHTS)")

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd protos && npx --yes @bufbuild/buf@1.75.0 lint

MINUTES ?= 20
PEOPLE ?= 240
PRESET ?= lite
RUN ?= runs/$(PRESET)
PRECISION ?= $(shell command -v nvidia-smi > /dev/null && echo bf16 || echo fp32)

# Exit code 3 of `posedub train` says that there is more to train.
train: $(READY)
	$(BIN)/posedub corpus synthetic --ict "$(ICT)" --out runs/people --identities $(PEOPLE) --seed 1
	$(BIN)/posedub train --preset $(PRESET) --precision $(PRECISION) --max-minutes $(MINUTES) \
	  --corpus runs/people --out $(RUN) || [ $$? -eq 3 ]
	$(BIN)/posedub checkpoint export $(RUN) --corpus runs/people --out $(RUN).safetensors

environment: $(READY)

# Most of what is installed is never imported: what is, is compiled then.
$(READY): pyproject.toml $(PROTOS) .ci/system-packages
	@.ci/system-packages "$(PYTHON)"
	@echo "Installing Python packages: 2.9 GB into $(VENV), which takes some minutes"
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --no-compile --editable ".[blender,train,studio,dev]"
	@touch $(READY)

ACTOR ?= runs/actor
CORPUS ?= corpus/actor
CLIPS ?= 3
FRAMES ?= 75
STAGES_no-pose = speech2latent
STAGES_landmarks = autoencoder speech2latent

# What an actor's run is worth in other numbers of steps, without its pose adaptor, and with landmarks in place of
# latents; again to go on. Shared noise and independent noise are compared wherever an actor is evaluated.
ablations: $(READY) $(ACTOR).safetensors $(ACTOR)-no-pose.safetensors $(ACTOR)-landmarks.safetensors
	$(BIN)/posedub evaluate $(CORPUS) --limit $(CLIPS) --max-frames $(FRAMES) --pose-source frozen \
	  --weights $(ACTOR).safetensors --steps 1 4 20 100 --out $(ACTOR)-steps
	$(BIN)/posedub evaluate $(CORPUS) --limit $(CLIPS) --max-frames $(FRAMES) --pose-source frozen \
	  --weights $(ACTOR).safetensors $(ACTOR)-no-pose.safetensors $(ACTOR)-landmarks.safetensors --steps 4 \
	  --out $(ACTOR)-ablations

$(ACTOR)-%.safetensors:
	for stage in $(STAGES_$*); do $(BIN)/posedub train --preset dae-cpu-$* --stage $$stage --from $(ACTOR) \
	  --from-stage $(firstword $(STAGES_$*)) --corpus $(CORPUS) --recogniser $(ACTOR)/recogniser.safetensors \
	  --precision $(PRECISION) --out $(ACTOR)-$* $(if $(SET),--set $(SET)) || exit; done
	$(BIN)/posedub checkpoint export $(ACTOR)-$* --corpus $(CORPUS) --out $@
