"""Tables of every type and every kind of value, and csv as records, for the live tests."""
import psycopg

PINNED = ("-c DateStyle=ISO,YMD -c TimeZone=UTC -c IntervalStyle=postgres -c bytea_output=hex "
          "-c extra_float_digits=3 -c lc_monetary=C")

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

# The edges of types, as input texts.
EDGES = {
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
    "date[]": ['{-infinity,2000-01-01,"0044-03-15 BC",NULL}', "[0:0]={infinity}"],
    "time[]": ["{24:00:00,00:00:00}"],
    "interval[]": ['{"1 day",NULL}'],
    "numeric[]": ["{NaN,1e400,-0.00}", "{{NaN}}"],
    "uuid[]": ["{00000000-0000-0000-0000-000000000000}"],
    "char(4)[]": ['{"a   ",""}'],
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

# Further values, which only servers from a version on have.
EDGES_SINCE = {
    140000: {"numeric": ["Infinity", "-Infinity"], "numeric[]": ["{Infinity,-Infinity}"]},
    150000: {"interval": ["2562047788:00:54.775807"], "interval[]": ['{"1 day",2562047788:00:54.775807}']},
    170000: {"interval": ["infinity", "-infinity"], "interval[]": ["{infinity,-infinity}"]},
}

# Types that EDGES names and no server has.
EDGE_TYPES = """
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
                # Texts: before 14 ARRAY[] of the two vector types is no array of them.
                one = '"' + sample.replace("\\", "\\\\").replace('"', '\\"') + '"'
                comma = ";" if typname == "box" else ","
                rows[1][column] = literal(f"{{{one}{comma}NULL}}")
                rows.setdefault(2, {})[column] = "'{}'"
                rows.setdefault(3, {})[column] = literal(f"{{{{{one}}}{comma}{{{one}}}}}")
                rows.setdefault(4, {})[column] = literal(f"[-3:-2]={{{one}{comma}{one}}}")
    with database.connect() as conn:
        conn.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        for number, row in rows.items():
            names = ", ".join(["id", *map(quote, row)])
            conn.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join([str(number), *row.values()])})")

def create_every_value(conn, table):
    """Table (n, c0, c1, …): a column for each type of EDGES and every other of pg_type; its values down the
    rows, and then NULL. {column: type}"""
    if conn.execute("SELECT to_regtype('mood') IS NULL").fetchone()[0]:
        conn.execute(EDGE_TYPES)
    known = [row[0] for row in conn.execute(
        "SELECT format_type(oid, NULL) FROM pg_type t WHERE typtype IN ('b','e','r','m')"
        " AND NOT EXISTS (SELECT FROM pg_class c WHERE c.reltype = t.typelem AND relkind <> 'c')"
        " AND typisdefined ORDER BY oid")]
    columns = {}
    conn.execute(f"CREATE TABLE {table} (n int PRIMARY KEY)")
    for name in list(EDGES) + [n for n in known if n not in EDGES]:
        try:
            conn.execute(f"ALTER TABLE {table} ADD COLUMN c{len(columns)} {name}")
        except psycopg.Error as error:  # a pseudo-type, or a type of a newer server
            assert "does not exist" in str(error) or "pseudo-type" in str(error), error
            continue
        columns[f"c{len(columns)}"] = name
    values = {name: list(EDGES.get(name, [])) for name in columns.values()}
    for version, more in EDGES_SINCE.items():
        for name in more if conn.info.server_version >= version else ():
            values[name] += more[name]
    for n in range(max(map(len, values.values())) + 1):
        row = {c: values[t][n] for c, t in columns.items() if n < len(values[t])}
        casts = [f"CAST(%s::text AS {columns[c]})" for c in row]
        conn.execute(f"INSERT INTO {table} ({', '.join(['n', *row])})"
                     f" VALUES ({', '.join([str(n), *casts])})", list(row.values()))
    return columns


def create_user_types(database, table="user_types"):
    """Enums, domains, composites, ranges and arrays of them, names that need quotes."""
    domains = "positive[]" if database.server.version >= 110000 else "numeric(10,2)[]"
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
                ms "Mood"[], ps pair[], ds {domains}, "a column, ""quoted"" and.dotted" text,
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
