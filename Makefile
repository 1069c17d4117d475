# make demo              install into .venv, index examples/documents, ask a question
# make demo Q="..."      ask your own
# make test              install what the tests need, run them all
# make lint              style and types

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INDEX := .demo/index
# pip compiles on one core, after all else.
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-compile -c constraints.txt
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true

# The question reaches the shell by the environment, never spliced into a command: it may hold
# quotes, dollars and backticks.
Q ?= 재택근무는 한 주에 며칠까지 할 수 있나요?
unexport Q
export QUESTION := $(value Q)
# Many tests start Python anew: it need not compile this package each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/demo.stamp
	@echo
	@$(BIN)/kogemma-rag index examples/documents --into $(INDEX)
	@printf '\n질문: %s\n\n' "$$QUESTION"
	@$(BIN)/kogemma-rag ask --in $(INDEX) -- "$$QUESTION"
	@printf '%s\n' '' '이어서 해 보기' \
	  '  다른 질문           make demo Q="서울 출장 숙박비 한도는 얼마인가요?"' \
	  '  문서에 없는 질문    make demo Q="스톡옵션은 언제 받나요?"' \
	  '  내 문서로           $(BIN)/kogemma-rag index 내폴더 --into 내색인' \
	  '                      $(BIN)/kogemma-rag chat --in 내색인' \
	  '  GPU에서 ko-gemma로  $(BIN)/kogemma-rag ask "질문" --in 내색인 --chat-model nlpai-lab/ko-gemma-2b-v1' \
	  '  파이썬에서          examples/01_ask_a_folder.py, examples/02_plug_into_langchain.py' \
	  '  노트북에서          notebooks/quickstart.ipynb'

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/venv.stamp:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "파이썬($(PYTHON))이 없습니다. Python 3.10 이상을 설치하거나 make PYTHON=경로 로 알려 주세요." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "Python 3.10 이상이 필요한데 $$("$(PYTHON)" --version 2>&1)입니다. make PYTHON=python3.12 처럼 다른 것을 알려 주세요." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "가상 환경을 만드는 모듈이 없습니다. 데비안과 우분투에서는 apt install python3-venv 로 설치하세요." >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

# Installed again only when what is to be installed changed.
$(VENV)/demo.stamp: $(VENV)/venv.stamp pyproject.toml constraints.txt
	$(INSTALL) -e '.[cpu]'
	@$(COMPILE)
	@touch $@

$(VENV)/dev.stamp: $(VENV)/venv.stamp pyproject.toml constraints.txt
	$(INSTALL) -e '.[cpu,dev]'
	@$(COMPILE)
	@touch $@
