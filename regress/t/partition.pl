# Whatever a table holds, is asked for and is believed of it: every row is in exactly one piece. While another
# session writes to the tables and analyzes them.
use strict;
use warnings;
use lib 'regress/t';
use Psql;
use Test::More;

$database = 'penstock_partition';
$ENV{PGOPTIONS} = '-c client_min_messages=warning';

sql("DROP DATABASE IF EXISTS $database", 'postgres');
sql("CREATE DATABASE $database TEMPLATE template0", 'postgres');
sql('CREATE EXTENSION penstock');

# Collations of ICU where the server knows them; one that has no order of its own for two texts.
my $icu = sql(q{SELECT count(*) FROM pg_collation WHERE collname = 'und-x-icu'}) ? 1 : 0;
my $loose = $icu ? '"loose"' : '"C"';
my $sorted = $icu ? '"und-x-icu"' : '"POSIX"';
sql(q{CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)}) if $icu;

# Values that are odd, and in each row others that are not: as text, for each column.
sql(qq{
	CREATE DOMAIN whole AS int8;
	CREATE DOMAIN wholes AS whole CHECK (VALUE IS NULL OR VALUE <> 77777);
	CREATE DOMAIN part AS float8;
	CREATE DOMAIN day AS date;
	CREATE DOMAIN word AS text COLLATE $sorted;
	CREATE TABLE kinds (name text PRIMARY KEY, type text, odd text[], plain text);
	INSERT INTO kinds VALUES
	('i2', 'int2', '{-32768,32767,0}', 'i % 1000'),
	('i4', 'int4', '{-2147483648,2147483647,-1}', 'i * 1000'),
	('i8', 'int8', '{-9223372036854775808,9223372036854775807}', 'i * 1000000000000'),
	('o', 'oid', '{0,4294967295,2147483648}', 'abs(i)'),
	('n', 'numeric', '{NaN,0,-0.0,1e300,-1e300,1e-300,0.1}', 'i / 7.0'),
	('f4', 'float4', '{NaN,Infinity,-Infinity,-0,0,3.4028235e38,-3.4028235e38,1e-45}', 'i / 7.0'),
	('f8', 'float8', '{NaN,Infinity,-Infinity,-0,0,1.7976931348623157e308,1.7976931348623155e308,-1.7976931348623157e308,5e-324}', 'i / 7.0'),
	('d', 'date', '{infinity,-infinity,4714-11-24 BC,5874897-12-31,0044-03-15 BC,1999-02-03}', 'date ''2000-01-01'' + i'),
	('ts', 'timestamp', '{infinity,-infinity,4714-11-24 00:00:00 BC,294276-12-31 23:59:59.999999,0001-01-01 00:00:00.000001}',
		'timestamp ''2000-01-01'' + i * interval ''1 hour'''),
	('tz', 'timestamptz', '{infinity,-infinity,4714-11-24 00:00:00+00 BC,294276-12-31 23:59:59.999999+00}',
		'timestamptz ''2000-01-01'' + i * interval ''1 hour'''),
	('u', 'uuid', '{00000000-0000-0000-0000-000000000000,ffffffff-ffff-ffff-ffff-ffffffffffff}', 'md5(i::text)'),
	('t', 'text', ARRAY['', ' ', E'\\001', E'\\x7f', 'é', 'É', 'ß', 'e', 'E', '日本', 'a''\\', repeat('z', 3000)], 'chr(97 + abs(i) % 26) || i'),
	('tc', 'text COLLATE "C"', ARRAY['', 'é', 'É', 'e', 'E', 'Z', 'a'], 'md5(i::text)'),
	('ts_icu', 'text COLLATE $sorted', ARRAY['', 'é', 'É', 'e', 'E', 'Z', 'a', '-', 'a-b', 'ab'], 'chr(65 + abs(i) % 57) || i'),
	('tl', 'text COLLATE $loose', ARRAY['', 'é', 'É', 'e', 'E', 'Z', 'z', 'a', 'A'], 'chr(65 + abs(i) % 57)'),
	('few', 'text', '{new,paid}', '(ARRAY[''new'', ''paid'', ''sent''])[1 + abs(i) % 3]'),
	('v', 'varchar(9)', ARRAY['', 'x  '], '''k'' || i'),
	('c', 'char(5)', ARRAY['', 'x  ', E'x\\t'], '''k'' || i'),
	('na', 'name', ARRAY['', repeat('n', 63)], '''k'' || i'),
	('w', 'wholes', '{-9223372036854775808}', 'i'),
	('p', 'part', '{NaN,Infinity,-Infinity}', 'i / 7.0'),
	('da', 'day', '{infinity,-infinity}', 'date ''2000-01-01'' + i'),
	('wo', 'word', '{é,E}', 'i');
	UPDATE kinds SET odd = odd || '{Infinity,-Infinity}' WHERE name = 'n' AND current_setting('server_version_num')::int >= 140000;
	CREATE FUNCTION fill(target text, rows int) RETURNS void LANGUAGE plpgsql AS \$\$
	BEGIN
		EXECUTE (SELECT format('INSERT INTO %s (%s) SELECT %s FROM generate_series(%s, %s) i', target,
				string_agg(name, ', ' ORDER BY name),
				string_agg(format('CASE WHEN i %% 17 = 0 THEN NULL WHEN i %% 5 = 0 THEN (%L::text[])[1 + abs(i) %% %s] ELSE (%s)::text END::%s',
					odd, cardinality(odd), plain, type), ', ' ORDER BY name), -rows / 2, rows - rows / 2 - 1)
			FROM kinds);
	END \$\$;
	DO \$\$ BEGIN
		EXECUTE (SELECT format('CREATE TABLE plain (%s)', string_agg(name || ' ' || type, ', ')) FROM kinds);
	END \$\$;
	CREATE TABLE empty (LIKE plain);
	CREATE TABLE old (LIKE plain);
	CREATE TABLE parent (LIKE plain);
	CREATE TABLE child () INHERITS (parent);
	CREATE TABLE parts (LIKE plain) PARTITION BY RANGE (i4);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (50000) PARTITION BY LIST (few);
	CREATE TABLE parts_2 PARTITION OF parts DEFAULT;
	CREATE TABLE parts_3 PARTITION OF parts_1 DEFAULT;
	CREATE TABLE large (LIKE plain) WITH (fillfactor = 10);
	SELECT fill('plain', 300), fill('old', 300), fill('child', 100), fill('parent', 60), fill('parts', 300), fill('large', 2000);
	ANALYZE plain, parent, parts;
	ANALYZE old;
	DELETE FROM old;
	INSERT INTO old SELECT * FROM large LIMIT 200;
	CREATE VIEW seen AS SELECT * FROM plain;
	CREATE MATERIALIZED VIEW kept AS SELECT * FROM plain;
	CREATE TEMPORARY TABLE mine (LIKE plain);
});

# One question: its answer, and for each row of the table in how many of the pieces it is. "tried" counts plans.
sql(q{
	CREATE FUNCTION tell(relation regclass, col text, n int, lower text, upper text, filter boolean, OUT pieces int, OUT wrong text)
	LANGUAGE plpgsql AS $$
	DECLARE
		conditions text[];
		expected text := '1';
		found bigint;
		styles text[] := '{"ISO, YMD","German, DMY","SQL, MDY","Postgres, DMY"}';
		type regtype := (SELECT atttypid FROM pg_attribute WHERE attrelid = relation AND attname = col);
	BEGIN
		SELECT array_agg(p.condition ORDER BY p.part) INTO conditions FROM penstock.partitions(relation, n, col, lower, upper, filter) p;
		pieces := cardinality(conditions);
		IF pieces IS NULL OR pieces > coalesce(n, 65536) THEN
			wrong := 'a plan of ' || coalesce(pieces, 0);
			RETURN;
		END IF;
		IF filter THEN
			expected := format('CASE WHEN %1$I IS NOT NULL AND (%2$L::text IS NULL OR %1$I >= %2$L::%4$s) AND (%3$L::text IS NULL OR %1$I <= %3$L::%4$s) THEN 1 ELSE 0 END',
				col, lower, upper, CASE WHEN type = 'bpchar'::regtype THEN 'bpchar' ELSE type::text END);
		END IF;
		-- Of whom the rows are read need not be who planned.
		PERFORM set_config('datestyle', styles[1 + floor(random() * 4)::int], true), set_config('timezone', 'Asia/Kolkata', true);
		EXECUTE format('SELECT count(*) FROM %s WHERE %s <> %s', relation, expected,
			(SELECT string_agg(format('CASE WHEN %s THEN 1 ELSE 0 END', c), ' + ') FROM unnest(conditions) c)) INTO found;
		IF found > 0 THEN
			wrong := found || ' rows are not in one piece of ' || array_to_string(conditions, ' | ');
		END IF;
		PERFORM set_config('datestyle', 'ISO, YMD', true);
	END $$;

	CREATE FUNCTION search(relation regclass, rounds int, OUT col text, OUT call text, OUT wrong text) RETURNS SETOF record
	LANGUAGE plpgsql AS $$
	DECLARE
		kind kinds;
		bounds text[];
		n int;
		lower text;
		upper text;
		filter boolean;
		answer record;
		tried int := 0;
	BEGIN
		SET LOCAL datestyle = 'ISO, YMD';
		SET LOCAL timezone = 'UTC';
		FOR kind IN SELECT * FROM kinds ORDER BY name LOOP
			FOR i IN 1 .. rounds LOOP
				EXECUTE format('SELECT array_agg(x) FROM (SELECT %1$I::text AS x FROM %2$s WHERE %1$I IS NOT NULL ORDER BY random() LIMIT 2) x', kind.name, relation) INTO bounds;
				bounds := coalesce(bounds, kind.odd) || kind.odd;
				n := (ARRAY[1, 2, 3, 7, 60, 300, NULL])[1 + floor(random() * 7)::int];
				lower := CASE WHEN random() < 0.6 THEN bounds[1 + floor(random() * cardinality(bounds))::int] END;
				upper := CASE WHEN random() < 0.6 THEN bounds[1 + floor(random() * cardinality(bounds))::int] END;
				filter := random() < 0.5 AND (lower IS NOT NULL OR upper IS NOT NULL);
				call := format('partitions(%L, %s, %L, %L, %L, %L)', relation, n, kind.name, lower, upper, filter);
				col := kind.name;
				BEGIN
					answer := tell(relation, kind.name, n, lower, upper, filter);
					wrong := answer.wrong;
					tried := tried + 1;
				EXCEPTION WHEN OTHERS THEN
					-- Reversed and infinite bounds.
					wrong := CASE WHEN SQLSTATE <> '22023' OR lower IS NULL AND upper IS NULL THEN SQLSTATE || ' ' || SQLERRM END;
				END;
				IF wrong IS NOT NULL THEN
					RETURN NEXT;
				END IF;
			END LOOP;
		END LOOP;
		col := '-';
		call := 'tried';
		wrong := tried;
		RETURN NEXT;
	END $$;
});

my $seed = $ENV{PENSTOCK_SEED} || 0.4;
my $rounds = $ENV{PENSTOCK_ROUNDS} || 12;
my @relations = qw(plain empty old parent parts large seen kept);
for my $relation (@relations)
{
	my @wrong = split(/\n/, sql("DO \$\$ BEGIN PERFORM setseed($seed); END \$\$; SELECT * FROM search('$relation', $rounds)"));
	my $tried = pop(@wrong) // '';
	is(join("\n", @wrong), '', "every row of $relation is in one piece");
	like($tried, qr/\|tried\|[1-9]\d\d/, "... of hundreds of plans");
}

# Pieces are even where something is known: of frequent values, of a sample without statistics.
sql(q{
	CREATE TABLE status WITH (autovacuum_enabled = false) AS
		SELECT i AS id, (ARRAY['new', 'paid', 'sent', 'back', 'lost'])[1 + i % 5] AS state,
			CASE WHEN i % 2 = 0 THEN 7 ELSE i END AS half, md5(i::text) AS hash FROM generate_series(1, 20000) i});
sub most
{
	my ($n, $column) = @_;
	my @pieces = split(/\n/, sql("SELECT condition FROM penstock.partitions('status', $n, '$column')"));
	my @found = sort { $b <=> $a } map { sql("SELECT count(*) FROM status WHERE $_") } @pieces;
	return (scalar(@pieces), $found[0]);
}
for my $known ('without statistics', 'with statistics')
{
	is_deeply([ most(5, 'state') ], [ 5, 4000 ], "five texts are five pieces $known");
	my ($pieces, $found) = most(8, 'hash');
	cmp_ok($found, '<', 3500, "pieces of texts are even $known");
	is($pieces, 8, '... and as many as asked for');
	($pieces, $found) = most(4, 'half');
	cmp_ok($found, '<', 13500, "a frequent value is a piece with few others $known");
	sql('ANALYZE status');
}

# While the tables change, and what is known of them.
my $busy = q{
	DO $$ BEGIN
		LOOP
			EXIT WHEN to_regclass('public.stop') IS NOT NULL;
			DELETE FROM plain WHERE random() < 0.5;
			PERFORM fill('plain', 200);
			DELETE FROM parts WHERE random() < 0.5;
			PERFORM fill('parts', 200);
			COMMIT;
			ANALYZE plain, parts;
			COMMIT;
		END LOOP;
	END $$};
$busy =~ s/ANALYZE plain, parts;/EXECUTE 'ANALYZE plain, parts';/;
my $child = fork() // die "fork: $!";
if ($child == 0)
{
	open(STDERR, '>&', \*STDOUT);
	exec('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $database, '-c', $busy) or die "psql: $!";
}
for my $relation (qw(plain parts))
{
	my @wrong = split(/\n/, sql("SELECT * FROM search('$relation', $rounds)"));
	my $tried = pop(@wrong) // '';
	is(join("\n", @wrong), '', "every row of $relation is in one piece while it changes");
	like($tried, qr/\|tried\|[1-9]\d\d/, '... of hundreds of plans');
}
sql('CREATE TABLE stop ()');
waitpid($child, 0);
is($?, 0, 'and it did change');

sql("DROP DATABASE $database", 'postgres');
done_testing();
