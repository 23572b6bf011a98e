"""csv and json through the command: every type's values are read as the server writes them, and
written back unchanged; keys that a line lacks are left alone; what is wrong is named."""
import json

import psycopg
import pytest

# Values of types, as input texts. Every other type of pg_type is tried with NULL only.
VALUES = {
    "bool": ["t", "f"],
    "int2": ["-32768", "32767", "0"],
    "int4": ["-2147483648", "2147483647"],
    "int8": ["-9223372036854775808", "9223372036854775807"],
    "float4": ["NaN", "Infinity", "-Infinity", "-0", "1e-45", "3.4028235e38", "0.1", "16777216"],
    "float8": ["NaN", "Infinity", "-Infinity", "-0", "5e-324", "1.7976931348623157e308", "0.1",
               "123456789012345680", "9007199254740993"],
    "numeric": ["NaN", "0", "-0.00", "1e400", "-1e-400", "12345678901234567890.1234567890", "1.50"],
    "numeric(10,2)": ["NaN", "12.30", "-99999999.99"],
    "money": ["$1.50", "-$92,233,720,368,547,758.08"],
    "text": ["", "NULL", "null", "a,b", 'a"b', "a\nb", "a\r\nb", "\\.", "\\", "\\N", "é€😀", " ",
             "\x01\x1f\x7f", "</script>", "'"],
    "varchar(5)": ["", "é   "],
    "char(4)": ["a", ""],
    '"char"': ["a", "\\377"],
    "name": ["x", 'Mi"xed'],
    "bytea": ["\\x", "\\x00ff5c22"],
    "date": ["infinity", "-infinity", "4713-11-24 BC", "5874897-12-31", "2000-02-29", "0001-01-01 BC"],
    "time": ["00:00", "24:00:00", "12:34:56.000001"],
    "timetz": ["24:00:00-15:59", "12:00:00.5+05:30", "00:00:00+01:02:03"],
    "timestamp": ["infinity", "-infinity", "4713-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999",
                  "1969-12-31 23:59:59.9", "0044-03-15 12:00 BC"],
    "timestamptz": ["infinity", "-infinity", "4713-11-25 00:00:00+00 BC",
                    "294276-12-31 23:59:59.999999+00", "2024-03-31 01:30:00+00"],
    "interval": ["0", "1 year -2 mons 3 days -04:05:06.789", "-178000000 years",
                 "178956970 years 7 mons 2147483646 days", "-00:00:00.000001"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "FFFFFFFF-ffff-ffff-ffff-ffffffffffff"],
    "json": ["null", '"a"', '"null"', " 1.50 ", '{"b": [1, {"a": null}], "b": 2}', "[]", "true",
             '{\n "a":\t"x\\ny"\n}', '"\\u0000"'],
    "jsonb": ["null", '"a\\"b"', "1.50", '{"b": 1, "a": [1, 2, null]}', "[]", "false"],
    "jsonpath": ['$."a"[*] ? (@ > 1)'],
    "xml": ["<a b='c'>x</a>", "<a/>"],
    "inet": ["1.2.3.4", "10.0.0.0/8", "::1"],
    "cidr": ["10.0.0.0/8", "::/0"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "bit(3)": ["101"],
    "varbit": ["", "1010"],
    "point": ["(1.5,-2)", "(NaN,Infinity)"],
    "line": ["{1,2,3}"],
    "lseg": ["[(1,2),(3,4)]"],
    "box": ["(3,4),(1,2)"],
    "path": ["((1,2),(3,4))", "[(1,2)]"],
    "polygon": ["((1,2),(3,4),(5,6))"],
    "circle": ["<(1,2),3>"],
    "tsvector": ["'a':1A 'b''c':2", ""],
    "tsquery": ["'a' & !'b'", ""],
    "oid": ["0", "4294967295"],
    "xid": ["4294967295"],
    "xid8": ["18446744073709551615"],
    "cid": ["7"],
    "tid": ["(0,1)"],
    "pg_lsn": ["16/B374D848"],
    "pg_snapshot": ["10:20:10,14,15"],
    "txid_snapshot": ["10:20:10"],
    "regclass": ["pg_class"],
    "regtype": ["integer"],
    "regproc": ["now"],
    "regrole": ["postgres"],
    "regnamespace": ["pg_catalog"],
    "int2vector": ["1 2 3", ""],
    "oidvector": ["1 2 3"],
    "refcursor": ["c"],
    "int4range": ["empty", "[1,5)", "(,)", "[,3)"],
    "numrange": ["[1.5,2.50]"],
    "tsrange": ['["2000-01-01 00:00:00","2001-01-01 00:00:00")', "[,infinity]"],
    "tstzrange": ['["2000-01-01 00:00:00+00",)'],
    "daterange": ["[2000-01-01,infinity)"],
    "int4multirange": ["{}", "{[1,3),[5,6)}"],
    "int4[]": ["{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[0:1]={1,2}", "[2:2][-1:0]={{1,2}}"],
    "text[]": ["{}", '{"",NULL,"NULL","null",a,"b c","d\\"e","f\\\\g","{h}","i,j","k\nl"}'],
    "float8[]": ["{NaN,Infinity,0.1}"],
    "numeric(9,2)[]": ["{NaN,1.50,NULL}"],
    "timestamp[]": ['{infinity,"2000-01-01 00:00:00.5","0044-03-15 00:00:00 BC"}'],
    "bytea[]": ['{"\\\\x","\\\\x00ff"}'],
    "json[]": ['{"{\\"a\\": 1}","[1,2]",7}', '{null,NULL,"\\"x\\"","\\"null\\""}', '{{1,2},{3,null}}',
               '[0:0]={"{}"}', '{"[]"}'],
    "jsonb[]": ['{"{\\"a\\": 1}",true}', '{null,NULL,"\\"x\\"","\\"null\\""}', '{{1,2},{3,null}}',
                '[0:0]={"{}"}', '{"[]"}', "{}"],
    "box[]": ["{(3,4),(1,2);(7,8),(5,6)}"],
    "point[]": ['{"(1,2)","(3,4)"}'],
    "int4range[]": ['{"[1,5)",empty}'],
    "bool[]": ["{t,f,NULL}"],
    "mood": ["sad", "so so"],
    "mood[]": ['{sad,"so so"}'],
    "shape": ['(1,"a b","{x,""y z"",NULL}")', "(,,)", '(2,"",{})', '(3,"q""\\\\,()",)'],
    "shape[]": ['{"(1,\\"a b\\",{x})",NULL,"(,,)"}', "{}"],
    "nested": ['("(1,x,)","{""(2,y,{z})"",""(3,,)""}",5)'],
    "positive": ["1"],
    "words": ["{a,b}", "{}"],
    "words[]": ['{"{a,b}","{}"}', '{"[0:0]={a}","{{a},{b}}"}', '{{"{a}"},{"{b}"}}', '[2:2]={"{a}"}'],
    "holder": ['("{""a"": 1}","[0:1]={1,2}",k)', '(null,"{1,2}",)', '("""x""",,"a ]={ b")', "(,,)", '("null",{},"")'],
    "holder[]": ['{"(null,\\"[0:1]={1,2}\\",)","(\\"\\"\\"x\\"\\"\\",,k)","(,,)"}', '[5:5]={"(,,)"}'],
    "bounded": ['("[0:1]={1,2}","[-1:-1]={sad}")', "({},{})", "(,)", '("{1,2}","{sad,""so so""}")'],
    "bounded[]": ['{"(\\"[0:1]={1,2}\\",)"}', '[2:2]={"({1},{sad})"}', '{{"(,)"},{"(,)"}}'],
    "dict": ["a=>1", "", "null", '"a"'],
    "dict[]": ['{a,"b c",NULL}', "[0:0]={a}"],
    "dicty": ['(a,"{b,c}")'],
    "semi": ["a"],
    "semi[]": ["{a;b}", '{"a;b";NULL}', "[0:1]={a;b}"],
    "semis": ['("{a;b}")'],
    "int2vector[]": ['{"1 2",""}', '{{"1"},{"2"}}', '{{""}}'],
}

# What json says otherwise than row_to_json, since it would not read back (docs/formats.md): what may
# hold a json null or string; arrays with another lower bound, as vectors are; types that have a
# cast to json; arrays whose elements are arrays, or have another delimiter.
OTHER_JSON = ("json", "jsonb", "json[]", "jsonb[]", "int4[]", "int2vector", "oidvector", "words[]",
              "holder", "holder[]", "bounded", "bounded[]", "dict", "dict[]", "dicty", "semi[]", "semis")

TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'so so');
CREATE TYPE shape AS (x int, "why not" text, l text[]);
CREATE TYPE nested AS (s shape, ss shape[], n int);
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE DOMAIN words AS text[];
CREATE TYPE holder AS (j jsonb, i int[], t text);
CREATE TYPE bounded AS (i int[], m mood[]);
CREATE TYPE dict;
CREATE FUNCTION dict_in(cstring) RETURNS dict LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION dict_out(dict) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE dict (INPUT = dict_in, OUTPUT = dict_out);
CREATE FUNCTION dict_json(dict) RETURNS json LANGUAGE sql AS 'SELECT json_build_object(''dict'', 1)';
CREATE CAST (dict AS json) WITH FUNCTION dict_json(dict);
CREATE TYPE dicty AS (d dict, ds dict[]);
CREATE TYPE semi;
CREATE FUNCTION semi_in(cstring) RETURNS semi LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION semi_out(semi) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE semi (INPUT = semi_in, OUTPUT = semi_out, DELIMITER = ';');
CREATE TYPE semis AS (s semi[]);
"""


@pytest.fixture(scope="module")
def every(module_database):
    """Table every(n, c0, c1, …): a column of each type of pg_type, its values down the rows and then
    NULL; {column: type}."""
    with module_database.connect() as conn:
        conn.execute(TYPES)
        known = [row[0] for row in conn.execute(
            "SELECT format_type(oid, NULL) FROM pg_type t WHERE typtype IN ('b','e','r','m')"
            " AND NOT EXISTS (SELECT FROM pg_class c WHERE c.reltype = t.typelem AND relkind <> 'c')"
            " AND typisdefined ORDER BY oid")]
        columns = {}
        conn.execute("CREATE TABLE every (n int PRIMARY KEY)")
        for name in list(VALUES) + [n for n in known if n not in VALUES]:
            try:
                conn.execute(f"ALTER TABLE every ADD COLUMN c{len(columns)} {name}")
            except psycopg.Error as error:  # a pseudo-type, or a type of a newer server
                assert "does not exist" in str(error) or "pseudo-type" in str(error), error
                continue
            columns[f"c{len(columns)}"] = name
        conn.execute("CREATE TABLE every_copy (LIKE every)")
        for n in range(max(map(len, VALUES.values())) + 1):
            row = {c: VALUES[t][n] for c, t in columns.items() if n < len(VALUES.get(t, []))}
            casts = [f"CAST(%s::text AS {columns[c]})" for c in row]
            conn.execute(f"INSERT INTO every ({', '.join(['n', *row])})"
                         f" VALUES ({', '.join([str(n), *casts])})", list(row.values()))
    assert len(columns) > 120
    return columns


def pinned(conn):
    conn.execute("SET timezone = 'UTC'; SET intervalstyle = postgres; SET lc_monetary = 'C'")


@pytest.mark.parametrize("form", ["csv", "json"])
def test_every_type_is_read_and_written_back_unchanged(every, module_database, penstock, form):
    read = penstock("read", module_database.url, "every", "--format", form, "--quiet")
    module_database.execute("TRUNCATE every_copy")
    penstock("write", module_database.url, "every_copy", "--mode", "append", "--format", form,
             "--quiet", input=read.out)
    wrong = []
    for column, name in every.items():
        # Texts are compared: some types have no equality, and -0 equals 0. White space between the
        # tokens of type json is not kept by json lines.
        text = "btrim(translate({}::text, E'\\n', ' '))" if name in ("json", "json[]") else "{}::text"
        differ = module_database.execute(
            f"SELECT a.n, a.{column}::text, b.{column}::text FROM every a FULL JOIN every_copy b USING (n)"
            f" WHERE {text.format(f'a.{column}')} IS DISTINCT FROM {text.format(f'b.{column}')}")
        if differ:
            wrong.append(f"{name}: {differ}")
    assert not wrong, "\n".join(wrong)


def test_csv_is_copys_byte_for_byte(every, module_database, penstock):
    with module_database.connect() as conn:
        pinned(conn)
        with conn.cursor().copy("COPY (SELECT * FROM every) TO STDOUT (FORMAT csv, HEADER)") as copy:
            want = b"".join(bytes(piece) for piece in copy)
    assert penstock("read", module_database.url, "every", "--jobs", "1", "--quiet").out == want


def test_json_is_row_to_json(every, module_database, penstock):
    columns = ", ".join(["n"] + [c for c, name in every.items() if name not in OTHER_JSON])
    with module_database.connect() as conn:
        pinned(conn)
        want = [row[0] for row in conn.execute(
            f"SELECT row_to_json(t)::text FROM (SELECT {columns} FROM every) t ORDER BY n")]
    got = penstock("read", module_database.url, "every", "--format", "json", "--jobs", "1", "--quiet",
                   "--columns", columns.replace(" ", ""))
    assert got.text == "".join(line + "\n" for line in want)


def test_absent_keys_keep_value_or_default(database, penstock):
    database.execute("CREATE TABLE t (k int PRIMARY KEY, a text DEFAULT 'd', b text DEFAULT 'e');"
                     "INSERT INTO t VALUES (1, 'x', 'y'), (2, 'x', 'y')")
    penstock("write", database.url, "t", "--format", "json", "--quiet", input=(
        '{"k":1,"a":"new"}\n{"k":2,"b":null}\n{"k":3}\n{"k":4,"a":null}\n{"b":"z","k":5}\n'))
    assert database.execute("SELECT * FROM t ORDER BY k") == [
        (1, "new", "y"), (2, "x", None), (3, "d", "e"), (4, None, "e"), (5, "d", "z")]


def test_absent_keys_in_append(database, penstock):
    database.execute("CREATE TABLE t (n serial, a text DEFAULT 'd', b text DEFAULT 'e')")
    penstock("write", database.url, "t", "--format", "json", "--quiet",
             input='{"a":"1"}\n{"b":null}\n{}\n{"a":"2","b":"x"}\n')
    assert sorted(database.execute("SELECT a, coalesce(b, '~') FROM t")) == [
        ("1", "e"), ("2", "x"), ("d", "e"), ("d", "~")]
    assert database.value("SELECT count(n) FROM t") == 4


def test_row_kinds_of_csv_and_json(database, penstock):
    database.execute("CREATE TABLE t (k int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    penstock("write", database.url, "t", "--mode", "changelog", "--row-kind-column", "op", "--quiet",
             input="op,k,a\n-D,1,x\n-U,2,y\n+U,2,z\n,3,w\n")
    assert database.execute("SELECT * FROM t ORDER BY k") == [(2, "z"), (3, "w")]
    penstock("write", database.url, "t", "--mode", "changelog", "--format", "json",
             "--row-kind-column", "op", "--quiet",
             input='{"op":"-D","k":2,"a":"z"}\n{"k":4,"a":"v"}\n')
    assert database.execute("SELECT * FROM t ORDER BY k") == [(3, "w"), (4, "v")]


@pytest.mark.parametrize("form,text,part", [
    ("csv", "k,bravo\n1,x\n2\n", "record 2 (line 3): too few fields"),
    ("csv", "k,brave\n1,x\n", 'has no column "brave"'),
    ("csv", 'k,bravo\n1,"x\n', "a quoted field is not closed"),
    ("json", '{"k":1,"bravo":"x"}\n{"k":}\n', "line 2, column 6"),
    ("json", '{"k":1,"brave":"x"}\n', 'has no column "brave"'),
    ("json", '{"k":1,"k":2}\n', "a key stands twice"),
])
def test_what_is_wrong_is_named(database, penstock, form, text, part):
    database.execute("CREATE TABLE t (k int PRIMARY KEY, bravo text)")
    done = penstock("write", database.url, "t", "--format", form, "--quiet", input=text, code=1)
    assert part in done.errors
    if "brave" in text:
        assert 'Did you mean "bravo"?' in done.errors


def test_many_columns_and_none(database, penstock):
    names = [f"c{i}" for i in range(1600)]
    database.execute(f"CREATE TABLE wide ({', '.join(f'{n} int' for n in names)});"
                     f"INSERT INTO wide SELECT {', '.join('g' for _ in names)} FROM generate_series(1, 50) g;"
                     "CREATE TABLE wide_copy (LIKE wide);"
                     "CREATE TABLE none (); INSERT INTO none SELECT FROM generate_series(1, 3);"
                     "CREATE TABLE none_copy ()")
    for form in ("csv", "json"):
        for table in ("wide", "none"):
            read = penstock("read", database.url, table, "--format", form, "--quiet")
            if form == "json":
                assert all(len(json.loads(line)) in (0, 1600) for line in read.text.splitlines())
            database.execute(f"TRUNCATE {table}_copy")
            penstock("write", database.url, f"{table}_copy", "--format", form, "--quiet",
                     input=read.out)
            assert database.value(f"SELECT count(*) FROM {table}_copy") == database.value(
                f"SELECT count(*) FROM {table}")
    assert database.value("SELECT count(*) FROM wide a JOIN wide_copy b ON a = b") == 50
