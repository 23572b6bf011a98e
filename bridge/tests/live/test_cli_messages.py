"""What the command says: every message names the thing in the user's words, and the remedy."""
import json

import pytest


@pytest.fixture(scope="module")
def shop(module_database, server):
    module_database.execute("""
        CREATE SCHEMA sales;
        CREATE TABLE orders (id int PRIMARY KEY, name text NOT NULL, amount numeric(12,2), "Mixed Case" int);
        INSERT INTO orders SELECT i, 'n' || i, i FROM generate_series(1, 10) i;
        CREATE TABLE sales.deals (id int, x text);
        CREATE TABLE serial (id serial PRIMARY KEY, a text);
        CREATE TABLE nokey (a int, b text);
        CREATE TABLE checked (id int PRIMARY KEY, a int CHECK (a < 100), s varchar(3));
        CREATE TABLE "My Table" (a int); CREATE TABLE sales."x/Y" (a int);
        DROP ROLE IF EXISTS "Poor role"; CREATE ROLE "Poor role" LOGIN""")
    yield module_database
    module_database.execute('DROP OWNED BY "Poor role"; DROP ROLE "Poor role"')


# ---- the words of whoever typed them ----

@pytest.mark.parametrize("args, words", [
    (["--columns", "id,nam"], ['--columns names no column of public.orders: "nam"', 'Did you mean "name"?']),
    (["--columns", "mixed"], ['--columns names no column']),
    (["--columns", "Mixed Case"], ['Did you mean "Mixed Case"? Names in other than lower case stand in double quotes.']),
    (["--columns", ""], ['--columns has the value ""']),
    (["--where", "name ="], ["checking --where: syntax error", "--where is one SQL condition"]),
    (["--where", 'name = "n1"'], ['column "n1" does not exist', "texts in single quotes"]),
    (["--delimiter", "ab"], ["--delimiter must be a single one-byte character"]),
    (["--null", '"'], ["--null cannot contain"]),
    (["--with", "read.batch-rows=x"], ['--with read.batch-rows has the value "x"']),
    (["--format", "json", "--with", "transport=assisted"], ["--with transport is assisted", "Set --with transport=auto"]),
])
def test_options_are_called_as_they_were_typed(penstock, shop, args, words):
    done = penstock("read", shop.url, "orders", *args, code=None)
    assert done.code in (1, 2) and [w for w in words if w not in done.errors] == [], done.errors
    assert 'option "' not in done.errors


def test_lists_of_databases_are_called_as_they_were_typed(penstock, server):
    assert "is in --allow but does not exist" in penstock("databases", server.url(), "--allow", "no_such_db").errors


def test_an_option_given_by_name_is_hinted_with_its_with(penstock, shop):
    done = penstock("write", shop.url, "nokey", "--mode", "upsert", input="a\n1\n", code=2)
    assert "--with sink.key is not given" in done.errors and "--mode append" in done.errors
    done = penstock("write", shop.url, "nokey", "--with", "on-error.file=x", input="a\n1\n", code=2)
    assert "--with on-error.file needs --with on-error=skip" in done.errors
    assert "With --no-header the columns" in penstock("write", shop.url, "nokey", code=1).errors


def test_columns_fold_to_lower_case_as_in_sql(penstock, shop):
    done = penstock("read", shop.url, "orders", "--columns", 'ID, "Mixed Case",name', "--limit", 1)
    assert done.text.splitlines()[0] == "id,Mixed Case,name"


# ---- where it connects to ----

@pytest.mark.parametrize("db, words", [
    ("mydb", ["DB is a bare word", '"dbname=NAME"']),
    ("dbname=a bogus=1", ['DB has an unknown parameter "bogus"', "libpq"]),
    ("postgresql://h/a?foo=1", ['DB has an unknown parameter "foo"']),
    ("mysql://h/a", ["DB begins with neither postgresql://"]),
    ("host=a password='secret42", ["DB has a quote that does not close"]),
])
def test_a_bad_connection_string_is_told_why(penstock, db, words):
    done = penstock("read", db, "t", code=2)
    assert [w for w in words if w not in done.errors] == [], done.errors
    assert "secret42" not in done.errors and '"url"' not in done.errors


# ---- tables that are not there ----

@pytest.mark.parametrize("command", ["read", "describe"])
@pytest.mark.parametrize("table, code, words", [
    ("order", 1, ['relation "order" does not exist', "Did you mean public.orders?"]),
    ("ordres", 1, ["Did you mean public.orders?"]),
    ("deals", 1, ["There is sales.deals."]),
    ("sale.deals", 1, ["There is no schema sale. There is sales.deals."]),
    ("zzzzzz", 1, ["check the search_path and the database, which is "]),
    ("nowhere.nothing", 1, ["There is no schema nowhere."]),
    ('"Orders"', 1, ["There is public.orders"]),
    ("a b", 2, ['"a b" is not a table\'s name', "stands in double quotes"]),
    ("or;ders", 2, ['"or;ders" is not a table\'s name']),
    ("a.b.c.d", 2, ['"a.b.c.d" is not a table\'s name']),
    ("x.y.z", 2, ['"x.y.z" is not a table\'s name', "connection string"]),
    ('"a', 2, ["is not a table's name"]),
])
def test_a_table_that_is_not_there_is_named_with_what_may_be_meant(penstock, shop, command, table, code, words):
    done = penstock(command, shop.url, table, code=code)
    assert [w for w in words if w not in done.errors] == [], done.errors


def test_without_create_an_absent_target_is_hinted_at_it(penstock, shop):
    assert "Give --create to make the table." in penstock("write", shop.url, "none_such", input="a\n1\n", code=1).errors
    done = penstock("copy", shop.url, "orders", shop.url, "none_such", code=1)
    assert 'target: relation "none_such" does not exist' in done.errors and "Give --create" in done.errors
    assert "source: relation" in penstock("copy", shop.url, "none_such", shop.url, "orders", code=1).errors


# ---- rows at fault ----

@pytest.mark.parametrize("table, args, body, words", [
    ("nokey", [], "a,b\n1,x\n2,y\n3,z\nbad,w\n", ["record: 4", "column: a", 'The value is "bad".']),
    ("checked", ["--mode", "append"], "id,a\n1,1\n2,200\n", ["record: 2", "row: (id)=(2)"]),
    ("checked", [], "id,a\n1,1\n2,200\n", ["record: 2", "row: (id)=(2)"]),
    ("checked", [], "id,a\n1,1\n,2\n", ['key column "id" is NULL', "record: 2"]),
    ("checked", [], "id,a\n1,1\nx,2\n", ['not a value of type integer: "x"', "record: 2"]),
    ("checked", ["--mode", "append"], "id,s\n1,abc\n2,toolong\n", ["record: 2", "column: s", 'The value is "toolong".']),
])
def test_a_refused_row_is_told_by_its_record_of_the_input(penstock, shop, table, args, body, words):
    done = penstock("write", shop.url, table, *args, input=body, code=1)
    assert [w for w in words if w not in done.errors] == [], done.errors
    assert "line 1" not in done.errors
    parsed = [json.loads(line) for line in penstock("write", shop.url, table, *args, "--log", "json", input=body, code=1).errors.splitlines()]
    error = [line for line in parsed if line["event"] == "error"]
    assert len(error) == 1 and error[0]["row"] == int(words[words.index(next(w for w in words if "record" in w))].split()[-1]) - 1


def test_a_key_that_the_server_makes_is_hinted_at_append(penstock, shop):
    done = penstock("write", shop.url, "serial", input="a\nx\n", code=2)
    assert 'key column "id"' in done.errors and "insert rows under new keys by --mode append" in done.errors
    penstock("write", shop.url, "serial", "--mode", "append", input="a\nx\n")
    assert shop.value("SELECT a FROM serial") == "x"


def test_rows_left_out_are_not_counted_as_written(penstock, shop):
    body = "id,a\n1,1\n2,200\n3,3\n"
    done = penstock("write", shop.url, "checked", "--with", "on-error=skip", input=body)
    assert "record 2 skipped" in done.errors and "wrote 2 rows, left out 1," in done.errors
    lines = [json.loads(line) for line in penstock("write", shop.url, "checked", "--with", "on-error=skip", "--log", "json", input=body).errors.splitlines()]
    last = [line for line in lines if line.get("event") == "done"][0]
    assert (last["rows"], last["rows_skipped"]) == (2, 1)


def test_nothing_is_said_of_rows_where_none_came_so_far(penstock, shop):
    for args in (["--with", "sink.key=zz"], ["--mode", "upsert"]):
        assert "committed" not in penstock("write", shop.url, "nokey", *args, input="a\n1\n", code=None).errors


# ---- rights ----

@pytest.mark.parametrize("mode, rights", [("append", "INSERT"), ("upsert", "SELECT, INSERT, UPDATE"), ("delete", "SELECT, DELETE"),
                                          ("changelog", "SELECT, INSERT, UPDATE, DELETE")])
def test_missing_rights_are_told_at_once_and_can_be_pasted(penstock, shop, server, mode, rights):
    url = server.url(shop.name, user="'Poor role'")
    shop.execute('TRUNCATE checked')
    body = "id,a,row_kind\n1,1,+I\n" if mode == "changelog" else "id\n1\n" if mode == "delete" else "id,a\n1,1\n"
    done = penstock("write", url, "checked", "--mode", mode, input=body, code=1)
    grant = next(line for line in done.errors.splitlines() if "hint:" in line).split("hint: ")[1]
    assert grant == f'GRANT {rights} ON public.checked TO "Poor role";'
    shop.execute(grant)
    penstock("write", url, "checked", "--mode", mode, input=body)
    shop.execute('REVOKE ALL ON checked FROM "Poor role"; TRUNCATE checked')


def test_the_right_to_read_can_be_pasted(penstock, shop, server):
    url = server.url(shop.name, user="'Poor role'")
    done = penstock("read", url, "orders", code=1)
    shop.execute(next(line for line in done.errors.splitlines() if "hint:" in line).split("hint: ")[1])
    assert penstock("read", url, "orders").out
    shop.execute('REVOKE ALL ON orders FROM "Poor role"; GRANT SELECT (id) ON orders TO "Poor role"')
    assert "--columns '\"id\"'" in penstock("read", url, "orders", code=1).errors


# ---- files ----

def test_a_file_that_cannot_be_written_is_named(penstock, shop, tmp_path):
    assert 'cannot write "/dev/full": No space left' in penstock("read", shop.url, "orders", "-o", "/dev/full", code=1).errors
    assert f'cannot write "{tmp_path}/none/"' in penstock("read", shop.url, "orders", "-o", f"{tmp_path}/none/", code=1).errors


@pytest.mark.parametrize("table, name", [('"My Table"', "My Table"), ('sales."x/Y"', "sales.x_Y"), ("Sales.Deals", "sales.deals")])
def test_files_in_a_folder_have_the_table_s_plain_name(penstock, shop, tmp_path, table, name):
    penstock("read", shop.url, table, "-o", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name + ".csv"]


def test_bytes_are_those_of_the_file(penstock, shop, tmp_path):
    for jobs in 1, 3:
        done = penstock("read", shop.url, "orders", "--jobs", jobs, "--log", "json", "-o", tmp_path / "o.csv")
        last = json.loads(done.errors.splitlines()[-1])
        assert last["event"] == "done" and last["bytes"] == (tmp_path / "o.csv").stat().st_size


@pytest.mark.parametrize("args, body, words", [
    ([], '{"id":1,"name":"x"}\n', "give --format json"), ([], "id;name\n1;x\n", "give --delimiter ';'"),
    ([], "id\tname\n1\tx\n", "give --delimiter '\\t'"), ([], "1,x\n2,y\n", "give --no-header"),
    ([], "PAR1xxxx", "looks like Parquet"), (["--format", "json"], '[{"id":1}]\n', "jq -c '.[]'"),
])
def test_an_input_of_another_form_is_hinted_at(penstock, shop, args, body, words):
    assert words in penstock("write", shop.url, "orders", *args, input=body, code=1).errors


def test_dates_are_hinted_to_be_iso(penstock, database):
    database.execute("CREATE TABLE t (d date)")
    assert "such as 2020-12-31" in penstock("write", database.url, "t", input="d\n31.12.2020\n", code=1).errors


def test_a_value_that_arrow_cannot_hold_is_hinted_with_its_options(penstock, database):
    database.execute("CREATE TABLE t AS SELECT 'NaN'::numeric(9,2) AS n")
    done = penstock("read", database.url, "t", "--format", "arrow", code=1)
    assert "--with special-values=null or --with special-values=clamp" in done.errors


def test_an_option_of_both_databases_blames_neither(penstock, shop):
    assert 'error: unknown option "sink.bogus"' in penstock("copy", shop.url, "orders", shop.url, "x", "--with", "sink.bogus=1", code=2).errors
    assert "error: target: DB is a bare word" in penstock("copy", shop.url, "orders", "mydb", "x", code=2).errors


def test_a_file_in_the_table_s_place_is_noticed(penstock, shop, tmp_path):
    (tmp_path / "in.csv").write_text("a\n1\n")
    done = penstock("write", shop.url, tmp_path / "in.csv", "nokey", code=1)
    assert "comes after the TABLE" in done.errors


def test_a_tab_may_be_written_as_a_backslash_t(penstock, shop):
    assert penstock("read", shop.url, "orders", "--columns", "id,name", "--limit", 1, "--delimiter", "\\t").text == "id\tname\n1\tn1\n"


# ---- --create ----

@pytest.mark.parametrize("format, body", [("json", ""), ("json", "{}\n")])
def test_create_needs_an_input_that_tells_columns(penstock, database, format, body):
    done = penstock("write", database.url, "t", "--create", "--format", format, input=body, code=1)
    assert "tells no columns" in done.errors and "hint" in done.errors
    assert database.value("SELECT to_regclass('t')") is None


def test_create_says_the_name_that_it_made(penstock, database):
    assert "public.newt was made" in penstock("write", database.url, "NewT", "--create", input="a\n1\n").errors


def test_create_reads_the_key_as_the_sink_does(penstock, database):
    penstock("write", database.url, "t", "--create", "--with", "sink.key=ID", input="ID,a\n1,x\n1,y\n")
    assert database.execute('SELECT "ID", a FROM t') == [("1", "y")]


def test_schema_name_counts_for_the_target_too(penstock, database):
    database.execute('CREATE SCHEMA "S x"')
    for mode in "append", "upsert":
        penstock("write", database.url, "T.t", "--create", "--with", "schema-name=S x", input="a\n1\n")
    assert database.value('SELECT count(*) FROM "S x"."T.t"') == 2


# ---- copy ----

def test_copy_names_both_tables_and_refuses_one_with_itself(penstock, shop, server, database):
    done = penstock("copy", shop.url, "orders", database.url, "t2", "--create")
    assert "copying public.orders to public.t2: " in done.errors
    for url in shop.url, server.url(shop.name, application_name="x"):
        done = penstock("copy", shop.url, "orders", url, "public.orders", code=2)
        assert "source and target are one table, public.orders" in done.errors
    assert "copied 10 rows" in penstock("copy", database.url, "t2", database.url, "t3", "--create").errors


# ---- exit code 4 ----

def test_a_writer_that_was_replaced_exits_4(start_penstock, penstock, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, a int)")
    job = ["--with", "sink.progress.schema=public", "--with", "sink.progress.job=j", "--with", "sink.buffer-flush.interval=0"]
    child = start_penstock("write", database.url, "t", *job)
    child.stdin.write(b"id,a\n1,1\n")
    child.stdin.flush()
    while database.value("SELECT to_regclass('penstock_progress') IS NULL") or not database.value("SELECT count(*) FROM penstock_progress"):
        assert child.poll() is None
    penstock("write", database.url, "t", *job, input="id,a\n2,2\n")
    err = child.communicate(b"3,3\n", timeout=60)[1]
    assert child.returncode == 4 and b"PST_ERR" not in err and b"error: " in err
    assert database.execute("SELECT id FROM t") == [(2,)]
