"""Tables of every type and every kind of value, and csv as records, for the live tests."""

PINNED = ("-c DateStyle=ISO,YMD -c TimeZone=UTC -c IntervalStyle=postgres -c bytea_output=hex "
          "-c extra_float_digits=1 -c lc_monetary=C")

# A value of each base type of a fresh server, as its input function takes it. Types that are not
# here have no input of their own (pg_node_tree and the statistics types).
SAMPLES = {
    "bool": "true", "bytea": r"\x00ff5c27", "char": "x", "name": "a Name", "int8": "-9223372036854775808",
    "int2": "-32768", "int4": "2147483647", "text": 'a "b", \'c\'\n\td\\e é 日本', "oid": "4294967295",
    "regproc": "now", "regprocedure": "lower(text)", "regoper": "||/", "regoperator": "+(integer,integer)",
    "regclass": "pg_class", "regtype": "integer", "regrole": "postgres", "regnamespace": "pg_catalog",
    "regconfig": "english", "regdictionary": "simple", "regcollation": '"C"', "tid": "(0,1)",
    "xid": "4294967295", "xid8": "18446744073709551615", "cid": "4294967295", "json": '{"a": [1, null, "x"]}',
    "jsonb": '{"a": [1, null, "x"], "b": 1e400}', "jsonpath": '$."a"[*]', "xml": "<a>é</a>",
    "point": "(1.5,-2)", "lseg": "[(0,0),(1,1)]", "path": "((0,0),(1,1))", "box": "(1,1),(0,0)",
    "polygon": "((0,0),(1,1),(1,0))", "line": "{1,2,3}", "circle": "<(0,0),1.5>", "float4": "1.1754944e-38",
    "float8": "-1.7976931348623157e+308", "money": "-92233720368547758.08", "macaddr": "08:00:2b:01:02:03",
    "macaddr8": "08:00:2b:01:02:03:04:05", "inet": "1.2.3.4/24", "cidr": "::/0", "aclitem": "postgres=r/postgres",
    "bpchar": "ab  ", "varchar": "ab  ", "date": "4713-01-01 BC", "time": "24:00:00",
    "timestamp": "294276-12-31 23:59:59.999999", "timestamptz": "4713-01-01 00:00:00+00 BC",
    "interval": "-178000000 years", "timetz": "24:00:00-15:59", "bit": "1", "varbit": "10101",
    "numeric": "-0.00000000000000000000000000000000000001234500", "refcursor": "c", "uuid":
    "00112233-4455-6677-8899-aabbccddeeff", "pg_lsn": "FFFFFFFF/FFFFFFFF", "tsvector": "'a':1 'b c':2A",
    "tsquery": "'a' & !'b'", "gtsvector": None, "txid_snapshot": "10:20:10,14", "pg_snapshot": "10:20:10,14",
    "int2vector": "1 2 3", "oidvector": "1 2 3", "int4range": "[1,5)", "int8range": "empty", "numrange": "(,1.50]",
    "daterange": "[2020-01-01,infinity)", "tsrange": '["2020-01-01 00:00:00",)', "tstzrange": "(,)",
    "int4multirange": "{[1,3),[7,)}", "int8multirange": "{}", "nummultirange": "{(,1.50]}",
    "datemultirange": "{[2020-01-01,infinity)}", "tsmultirange": '{["2020-01-01 00:00:00",)}',
    "tstzmultirange": "{(,)}",
}

# Further values of types that have odd ones.
ODD = {
    "float4": ["NaN", "Infinity", "-Infinity", "-0"], "float8": ["NaN", "Infinity", "-Infinity", "-0", "0.1"],
    "numeric": ["NaN", "0", "1e500", "-1.50", "123456789012345678901234567890.123456789"],
    "date": ["infinity", "-infinity", "5874897-12-31", "2020-02-29"], "text": ["", "NULL", "\\N", "\\.", '"', "\r\n"],
    "timestamp": ["infinity", "-infinity", "0044-03-15 12:00:00.000001 BC"], "json": ["null", '"x"', "1.50", " [1 ,2] "],
    "timestamptz": ["infinity", "-infinity", "1970-01-01 00:00:00.1+00"], "jsonb": ["null", '"x"', "1.50"],
    "time": ["00:00:00", "23:59:59.999999"], "interval": ["1 mon -1 days +00:00:00.000001", "00:00:00"],
    "bytea": ["", r"\x"], "bpchar": [""], "varchar": ["", " a\n"], "name": [""], "bool": ["f"],
}


def quote(name):
    return '"' + name.replace('"', '""') + '"'


def literal(value):
    return "NULL" if value is None else "E'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def base_types(database):
    """(name, array type's name) of every base and range type that a column may have."""
    rows = database.execute("""
        SELECT t.typname, format_type(t.oid, NULL), format_type(nullif(t.typarray, 0), NULL)
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = 'pg_catalog' AND t.typtype IN ('b', 'r', 'm') AND t.typname !~ '^_'
          AND t.typname !~ '^pg_(node_tree|ndistinct|dependencies|mcv_list|brin_.*|ddl_command)'
        ORDER BY t.typname""")
    return rows


def create_every_type(database, table="every_type"):
    """One column for each type and for its array; a row of samples, rows of odd values, NULLs."""
    columns, rows = ["id int PRIMARY KEY"], {0: {}, 1: {}}
    for typname, type_name, array_name in base_types(database):
        type_name = "character" if typname == "bpchar" else type_name
        columns.append(f"{quote(typname)} {'bpchar' if typname == 'bpchar' else type_name}")
        sample = SAMPLES.get(typname)
        rows[1][typname] = literal(sample)
        for i, odd in enumerate(ODD.get(typname, [])):
            rows.setdefault(2 + i, {})[typname] = literal(odd)
        if array_name is not None:
            column = typname + "[]"
            element = "bpchar" if typname == "bpchar" else type_name
            columns.append(f"{quote(column)} {element}[]")
            if sample is not None:
                one = f"{literal(sample)}::{element}"
                rows[1][column] = f"ARRAY[{one}, NULL]"
                rows.setdefault(2, {})[column] = "'{}'"
                rows.setdefault(3, {})[column] = f"ARRAY[[{one}],[{one}]]"
                rows.setdefault(4, {})[column] = f"array_fill({one}, ARRAY[2], ARRAY[-3])"
    with database.connect() as conn:
        conn.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        for number, row in rows.items():
            names = ", ".join(["id", *map(quote, row)])
            conn.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join([str(number), *row.values()])})")


def create_user_types(database, table="user_types"):
    """Enums, domains, composites, ranges and arrays of them, names that need quotes."""
    with database.connect() as conn:
        conn.execute("""
            CREATE TYPE "Mood" AS ENUM ('sad', 'o k', 'happy "quoted"', '');
            CREATE DOMAIN positive AS numeric(10,2) CHECK (VALUE > 0);
            CREATE DOMAIN tags AS text[];
            CREATE TYPE pair AS (a int, "B b" text, m "Mood");
            CREATE TYPE span AS RANGE (subtype = float8);
            CREATE SCHEMA "odd.schema";""")
        conn.execute(f"""
            CREATE TABLE {table} (id int PRIMARY KEY, m "Mood", d positive, t tags, p pair, s span,
                ms "Mood"[], ps pair[], ds positive[], "a column, ""quoted"" and.dotted" text,
                UPPER int, c char(5), v varchar(3), n numeric(38,10), n2 numeric(5,0), tz timestamptz(3),
                iv interval(3), b bit(3), i4 int4[] NOT NULL DEFAULT '{{}}')""")
        conn.execute(f"""
            INSERT INTO {table} VALUES
            (1, 'sad', 1.5, '{{a,"b c",NULL,"NULL"}}', '(1,"x, y","o k")', '[1,2.5)', '{{sad,"o k"}}',
             ARRAY[ROW(1,'q"q','sad')::pair, NULL], '{{1.00,2.50}}', 'é', 1, 'ab', 'abc',
             1234567890123456789012345678.0123456789, 12345, '2020-01-01 00:00:00.123+00',
             '1 day 00:00:00.5', '101', '{{1,NULL,3}}'),
            (2, 'happy "quoted"', NULL, '{{}}', '(,,)', 'empty', '{{}}', '{{}}', NULL, '', NULL, '', '',
             -0.0000000001, 0, NULL, NULL, NULL, '[0:1]={{1,2}}'),
            (3, '', NULL, '{{{{a}},{{b}}}}', NULL, '(,)', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'NaN', NULL,
             'infinity', NULL, NULL, '{{{{1,2}},{{3,4}}}}')""")


def records(csv):
    """The records of a csv text as a sorted list, header first: NULL and "" stay apart."""
    parts, open_quotes, out = [], 0, []
    for line in csv.split(b"\n"):
        parts.append(line)
        open_quotes += line.count(b'"')
        if open_quotes % 2 == 0:
            out.append(b"\n".join(parts))
            parts, open_quotes = [], 0
    assert not parts and out.pop() == b"", "the text ends with a line end"
    return out[:1] + sorted(out[1:])


def copy_csv(conn, relation, select="*"):
    """What COPY gives for a relation, on a connection with the pinned settings."""
    with conn.cursor().copy(f"COPY (SELECT {select} FROM {relation}) TO STDOUT (FORMAT csv, HEADER)") as copy:
        return b"".join(bytes(part) for part in copy)
