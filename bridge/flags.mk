# What bridge/Makefile and bridge/tests/Makefile share: folders, flags, lists of sources.
#
# Variants live side by side: build/ as it is shipped (gcc), build/clang (CC=clang), build/san and
# build/clang-san (SAN=1: ASan and UBSan), build/cov (COV=1: gcov).
TOP := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))..)

SAN ?= 0
COV ?= 0
WERROR ?= 0
ifeq ($(origin CC),default)
CC := gcc
endif
empty :=
VARIANT := $(subst $(empty) ,-,$(strip $(if $(findstring clang,$(CC)),clang) $(if $(filter 1,$(SAN)),san) $(if $(filter 1,$(COV)),cov)))
BUILD ?= $(TOP)/build$(if $(VARIANT),/$(VARIANT))

CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wconversion
ifeq ($(WERROR),1)
WARN += -Werror
endif
ifeq ($(SAN),1)
VARIANT_FLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
ifeq ($(COV),1)
VARIANT_FLAGS += --coverage -O0
endif

PKG_CONFIG ?= pkg-config
PQ_CFLAGS := $(addprefix -isystem ,$(shell $(PKG_CONFIG) --variable=includedir libpq))
PQ_LIBS := $(shell $(PKG_CONFIG) --libs libpq)
CJSON_LIBS := $(shell $(PKG_CONFIG) --libs libcjson)
LIBS := $(PQ_LIBS) $(CJSON_LIBS)

BASE_CFLAGS := -std=c11 -D_GNU_SOURCE $(CFLAGS) $(WARN) $(VARIANT_FLAGS) -ffile-prefix-map=$(TOP)=.
LIB_CFLAGS := $(BASE_CFLAGS) -fPIC -fvisibility=hidden -I$(TOP)/bridge/include -I$(TOP)/bridge/src \
	-I$(TOP)/wire -I$(BUILD)/gen $(PQ_CFLAGS)
CLI_CFLAGS := $(BASE_CFLAGS) -I$(TOP)/bridge/include

LIB_SRC := $(wildcard $(TOP)/bridge/src/*.c) $(wildcard $(TOP)/bridge/src/cdc/*.c) $(wildcard $(TOP)/wire/*.c)
CLI_SRC := $(wildcard $(TOP)/bridge/cli/*.c)
SQL_SRC := $(wildcard $(TOP)/sql/*.sql)
GEN := $(BUILD)/gen/sql_texts.h

$(GEN): $(SQL_SRC) $(TOP)/scripts/embed $(wildcard $(TOP)/sql)
	@mkdir -p $(@D)
	@$(TOP)/scripts/embed $(TOP)/sql >$@.tmp && mv $@.tmp $@

# V=1 shows the commands.
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@echo "  $(1)  $(patsubst $(TOP)/%,%,$@)")
