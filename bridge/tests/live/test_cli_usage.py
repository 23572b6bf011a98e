"""The command's own words: usage, --help, the man page, exit code 2, and docs/command.md."""
import json
import os
import re
import subprocess

import pytest

COMMANDS = ["databases", "tables", "describe", "read", "write", "copy", "cdc", "slots", "doctor"]
LATER = ["clone", "lookup", "run"]
DOCS = os.path.join(os.path.dirname(__file__), "../../../docs/command.md")


def long_options(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


def test_help_lists_every_command_and_none_of_later_issues(penstock):
    text = penstock("--help").text
    listed = re.findall(r"^  (\w+) ", text, re.M)
    assert listed == COMMANDS
    for word in LATER + ["--follow"]:
        assert word not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_goes_to_standard_output(penstock, command):
    done = penstock(command, "--help")
    assert done.text.startswith(f"Usage: penstock {command} DB") or command == "copy"
    assert "--help" in done.text and "--with" in done.text and done.err == b""
    assert not long_options(done.text) & {"--follow", "--key"}
    assert [line for line in done.text.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("command", LATER)
def test_commands_of_later_issues_are_unknown(penstock, command):
    assert "there is no command" in penstock(command, "x", code=2).errors


@pytest.mark.parametrize("args", [["read", "", "t", "--limit", "x", "--log", "json"], ["read", "--log=json"],
                                  ["read", "", "t", "--nonsense", "--log", "json"]])
def test_usage_errors_are_json_where_the_log_is(penstock, args):
    line = json.loads(penstock(*args, code=2).errors)
    assert (line["level"], line["event"], line["command"]) == ("error", "usage", "read") and line["message"]


def test_help_is_given_in_every_way_that_is_tried(penstock):
    assert penstock("-h").text == penstock("help").text == penstock("--help").text
    assert penstock("read", "-h").text == penstock("help", "read").text == penstock("read", "--help").text


def test_version_is_one_line(penstock):
    assert re.fullmatch(r"penstock \d+\.\d+\.\d+\n", penstock("--version").text)


@pytest.mark.parametrize("args, words", [
    ([], "Usage"),
    (["nonsense"], 'no command "nonsense"'),
    (["read"], "DB is missing"),
    (["read", ""], "either a TABLE or a --query"),
    (["read", "", "t", "--query", "SELECT 1"], "either a TABLE or a --query"),
    (["read", "", "--query", "SELECT 1", "--jobs", "2"], "one job"),
    (["read", "", "t", "extra"], "too many arguments"),
    (["read", "", "t", "--colour", "red"], 'no option "--colour"'),
    (["read", "", "t", "-x"], 'no option "-x"'),
    (["read", "", "t", "--limit"], "needs a value"),
    (["read", "", "t", "--limit", "-1"], "whole number from 0"),
    (["read", "", "t", "--limit", "many"], "whole number from 0"),
    (["read", "", "t", "--jobs", "0"], "whole number from 1"),
    (["read", "", "t", "--max-rate", "0"], "whole number from 1"),
    (["read", "", "t", "--format", "xml"], "csv|json|arrow"),
    (["read", "", "t", "--quiet=yes"], "takes no value"),
    (["read", "", "t", "--with", "novalue"], "takes KEY=VALUE"),
    (["read", "", "t", "--with", "no.such.option=1"], "no.such.option"),
    (["read", "", "t", "--log", "xml"], "text|json"),
    (["write", "", "t", "--mode", "replace"], "upsert|append|delete|changelog"),
    (["copy", "", "t", ""], "the target's TABLE is missing"),
    (["write", ""], "TABLE is missing"),
    (["reed"], 'did you mean "read"'),
    (["read", "", "t", "--coulmns", "a"], 'did you mean "--columns"'),
    (["read", "", "t", "--l", "1"], '"--l" is short for several'),
    (["read", "", "t", "-o", ""], "the output FILE is empty"),
    (["read", "", "t", "--format", "json", "--delimiter", ";"], "--delimiter is for csv"),
    (["write", "", "t", "--format", "arrow", "--no-header"], "--no-header is for csv"),
    (["databases", "", "--allow", "a", "--deny", "b"], "exclude each other"),
    (["doctor", "", "--grants", "everything"], "read|write|cdc|catalog"),
    (["doctor", "", "--grants", "read", "--json"], "does not go with"),
    (["doctor", "", "--grants", "read", "--for", "read"], "does not go with"),
    (["doctor", "", "--for", "everything"], "read|write|cdc|catalog"),
    (["tables", "", "--format", "json"], "no option"),
])
def test_wrong_arguments_are_named_and_exit_2(penstock, args, words):
    done = penstock(*args, code=2)
    assert words in done.errors and done.out == b""


def test_arguments_may_stand_in_any_order(penstock, database):
    database.execute("CREATE TABLE t AS SELECT 1 AS a, 2 AS b")
    for args in (["--columns", "b", database.url, "t"], [database.url, "--columns=b", "t"],
                 [database.url, "t", "--columns", "b"], ["--columns=b", "--", database.url, "t"]):
        assert penstock("read", *args).text == "b\n2\n"


def test_man_page_has_every_command_and_option(penstock):
    page = penstock("--man").text
    assert page.startswith(".TH PENSTOCK 1")
    text = re.sub(r"\\f[BIR]", "", page.replace("\\-", "-"))
    for command in COMMANDS:
        assert f".SS penstock {command}" in text
        assert long_options(penstock(command, "--help").text) <= long_options(text)
    for name in ("table-name", "scan.partition.column", "sink.buffer-flush.max-rows"):
        assert name in text, "the library's options stand in the manual"
    for line in page.splitlines():
        assert not re.match(r"\.(?!TH|SH|SS|TP|PP|nf|fi)", line), line


def test_docs_name_every_command_and_option(penstock):
    with open(DOCS, encoding="utf-8") as file:
        docs = file.read()
    for command in COMMANDS:
        assert f"## {command}" in docs
        section = docs.split(f"## {command}")[1].split("\n## ")[0] + docs.split("## Options for all")[1]
        for option in long_options(penstock(command, "--help").text):
            assert option in section, f"{command} {option} is not in docs/command.md"
    known = set().union(*(long_options(penstock(c, "--help").text) for c in COMMANDS))
    assert long_options(docs) <= known | {"--man", "--version"}


def test_man_page_is_readable_by_groff():
    groff = subprocess.run(["sh", "-c", "command -v groff"], stdout=subprocess.PIPE)
    if groff.returncode != 0:
        pytest.skip("groff is not installed")
    page = subprocess.run([os.environ["PENSTOCK_BIN"], "--man"], stdout=subprocess.PIPE, check=True)
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-Kutf8"], input=page.stdout,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    assert done.stderr == b""
    assert b"DB TABLE" in done.stdout and b"EXIT STATUS" in re.sub(rb".\x08", b"", done.stdout)
