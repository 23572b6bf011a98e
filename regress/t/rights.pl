# Every function with odd arguments, as superuser and as a role with no rights: the errors are those that
# docs/extension.md tells of.
use strict;
use warnings;
use lib 'regress/t';
use Psql;
use Test::More;

$database = 'penstock_rights';
$ENV{PGOPTIONS} = '-c client_min_messages=error';

# The table of errors: function, SQLSTATEs.
my %documented;
open(my $page, '<', 'docs/extension.md') or die "docs/extension.md: $!";
while (my $line = <$page>)
{
	next unless my ($names, $states) = $line =~ /^\| ((?:`\w+`(?:, )?)+) \| ([^|]*) \|$/;
	my @states = $states =~ /\b(?=[0-9A-Z]*[0-9])([0-9A-Z]{5})\b/g;
	push(@{ $documented{$_} }, @states) for $names =~ /`(\w+)`/g;
}

sql("DROP DATABASE IF EXISTS $database", 'postgres');
sql('DROP ROLE IF EXISTS penstock_nobody', 'postgres');
sql("CREATE DATABASE $database TEMPLATE template0", 'postgres');
sql(<<'END');
	CREATE EXTENSION penstock;
	CREATE ROLE penstock_nobody;
	CREATE SCHEMA odd;
	CREATE TYPE odd.mood AS ENUM ('sad', 'ok');
	CREATE TYPE odd.pair AS (a int, b text);
	CREATE TABLE odd.t (id int, v text, PRIMARY KEY (id));
	INSERT INTO odd.t SELECT i, 'v' || i FROM generate_series(1, 50) i;
	CREATE TABLE odd.many (id numeric PRIMARY KEY, m odd.mood, p odd.pair, a int[], x xml, j json, f float8, d date,
		ts timestamptz, u uuid, b bytea, c "char", g int GENERATED ALWAYS AS (1) STORED, "Mixed ""x""" bit(3));
	INSERT INTO odd.many (id, f, d) VALUES ('NaN', 'NaN', 'infinity'), (1, 2, '2020-01-01'), (9, 3, '2021-01-01');
	CREATE TABLE odd.nothing ();
	CREATE TABLE odd.parts (k int, v text, PRIMARY KEY (k)) PARTITION BY LIST (k);
	CREATE TABLE odd.part PARTITION OF odd.parts DEFAULT;
	CREATE TABLE odd.late (id int PRIMARY KEY DEFERRABLE);
	CREATE TABLE odd.ruled (id int PRIMARY KEY);
	CREATE RULE r AS ON DELETE TO odd.ruled DO INSTEAD NOTHING;
	CREATE VIEW odd.v AS SELECT * FROM odd.t;
	CREATE VIEW odd.fails AS SELECT id / 0 AS id FROM odd.t;
	CREATE MATERIALIZED VIEW odd.m AS SELECT * FROM odd.t;
	CREATE MATERIALIZED VIEW odd.unfilled AS SELECT * FROM odd.t WITH NO DATA;
	CREATE SEQUENCE odd.s;
	CREATE FOREIGN DATA WRAPPER penstock_none;
	CREATE SERVER penstock_far FOREIGN DATA WRAPPER penstock_none;
	CREATE FOREIGN TABLE odd.far (id int) SERVER penstock_far;
	CREATE TABLE odd.secured (id int PRIMARY KEY, v text);
	ALTER TABLE odd.secured ENABLE ROW LEVEL SECURITY;
	CREATE TABLE odd.granted (id int PRIMARY KEY, v text);
	ANALYZE;
	-- The last two are all that it may do.
	GRANT SELECT ON odd.secured TO penstock_nobody;
	GRANT SELECT (id) ON odd.granted TO penstock_nobody;
	CREATE SCHEMA trial;
	GRANT USAGE ON SCHEMA trial TO PUBLIC;

	CREATE TABLE trial.arguments (type regtype, value text);
	INSERT INTO trial.arguments SELECT 'text', unnest(ARRAY[NULL, NULL, '', ' ', 'id', 'v', 'Id', 'nowhere', 'odd', 'public', 'read', 'write', 'cdc', 'catalog',
		'error', 'null', 'clamp', '0', '1', '-1', '99999999999999999999', 'NaN', 'infinity', '-infinity', '2020-01-01', '2020-13-01', 'x''"\;--',
		E'\\x01\n\t', 'é日', repeat('x', 100000), repeat(';', 5000), 'a;b', '{', '00000000-0000-0000-0000-000000000000',
		'SELECT 1 AS id', 'SELECT id FROM odd.granted', 'SELECT', 'SELECT 1; SELECT 2', 'INSERT INTO odd.t VALUES (1)', 'VACUUM', 'SELECT $1',
		'SELECT 1/0', 'TABLE odd.t', 'SELECT FROM odd.t', 'SELECT ''NaN''::numeric(5,2) AS id', 'SELECT 1 AS id INTO odd.x', 'f', 'd', 'm', 'a', 'u', 'ts']);
	INSERT INTO trial.arguments SELECT 'int', unnest('{NULL,NULL,0,1,2,3,-1,7,1000,65536,65537,67108864,67108865,2147483647,-2147483648}'::text[]);
	INSERT INTO trial.arguments SELECT 'bool', unnest('{NULL,true,false}'::text[]);
	INSERT INTO trial.arguments SELECT 'text[]', unnest(ARRAY[NULL, NULL, '{}', '{NULL}', '{id}', '{v}', '{id,v}', '{v,id}', '{id,id}', '{id,NULL}', '{{id,v},{v,id}}', '{{id}}',
		'[5:5]={id}', '[3:4]={id,v}', '{nowhere}', '{Id}', '{ctid}', '{""}', '{*}', '{k}', '{g}', '{id,m,p,a,x}', '{"Mixed \"x\""}',
		ARRAY[repeat('x', 100000)]::text, (SELECT array_agg('c' || i)::text FROM generate_series(1, 5000) i)]);
	INSERT INTO trial.arguments SELECT 'regclass', unnest('{NULL,0,4294967295}'::text[]);
	INSERT INTO trial.arguments SELECT 'regclass', c.oid::text FROM pg_class c
		WHERE c.relnamespace = 'odd'::regnamespace OR c.relname IN ('pg_class', 'pg_statistic', 'pg_stats', 'pg_class_oid_index', 'pg_shadow')
			OR c.oid = (SELECT reltoastrelid FROM pg_class WHERE oid = 'odd.t'::regclass);
	GRANT SELECT ON trial.arguments TO PUBLIC;

	-- Each function n times, with arguments from the table: which SQLSTATEs come, and a call for each.
	CREATE FUNCTION trial.call(n int, OUT name text, OUT state text, OUT call text, OUT message text) RETURNS SETOF record
	LANGUAGE plpgsql AS $$
	DECLARE
		f record;
		given text;
		seen text[];
	BEGIN
		FOR f IN SELECT p.proname, p.proargtypes::regtype[] AS types, coalesce(p.proargnames, '{}') AS names
			FROM pg_proc p WHERE p.pronamespace = 'penstock'::regnamespace ORDER BY p.proname LOOP
			seen := '{}';
			FOR i IN 1 .. CASE WHEN cardinality(f.types) = 0 THEN 1 ELSE n END LOOP
				-- Some are left out.
				SELECT string_agg(format('%I => %L::%s', f.names[u.place], x.value, u.type), ', ' ORDER BY u.place) INTO given
				FROM unnest(f.types) WITH ORDINALITY AS u(type, place)
				CROSS JOIN LATERAL (SELECT a.value FROM trial.arguments a WHERE a.type = u.type AND u.place > 0 ORDER BY random() LIMIT 1) x
				WHERE u.place = 1 OR random() < 0.6;
				call := format('SELECT count(x) FROM (SELECT penstock.%I(%s)) x', f.proname, given);
				BEGIN
					-- Not count(*): a function whose value is not asked for is not called.
					EXECUTE call;
					state := '00000';
					message := '';
				EXCEPTION WHEN OTHERS THEN
					state := SQLSTATE;
					message := SQLERRM;
				END;
				IF state <> ALL (seen) THEN
					seen := seen || state;
					name := f.proname;
					call := left(call, 300);
					message := left(message, 300);
					RETURN NEXT;
				END IF;
			END LOOP;
		END LOOP;
	END $$;
END

my $calls = $ENV{PENSTOCK_ROUNDS} || 2500;
for my $role ('postgres', 'penstock_nobody')
{
	my $as = $role eq 'postgres' ? '' : "SET ROLE $role;";
	my (%seen, @wrong, @lines);
	# Some functions work under a transaction's snapshot alone.
	for my $round (['READ COMMITTED', $calls], ['REPEATABLE READ', 50])
	{
		push(@lines, split(/\n/, sql(qq{BEGIN ISOLATION LEVEL $round->[0];
			SET LOCAL statement_timeout = '300s'; $as DO \$\$ BEGIN PERFORM setseed(0.3); END \$\$;
			SELECT json_build_array(name, state, call, message) FROM trial.call($round->[1])})));
	}
	for my $line (@lines)
	{
		my ($name, $state) = $line =~ /^\["(\w+)", *"(\w+)"/ or die $line;
		$seen{$name}{$state} = 1;
		push(@wrong, $line) unless $state eq '00000' || grep { $_ eq $state } @{ $documented{$name} };
	}
	is(join("\n", @wrong), '', "no error that the page does not know, as $role");
	is(join(' ', grep { !$seen{$_}{'00000'} } sort keys %seen), '', '... and each function answers some of the calls');
	cmp_ok(scalar(keys %seen), '>=', 12, '... and all of them are called');
}

sql("DROP DATABASE $database", 'postgres');
sql('DROP ROLE penstock_nobody', 'postgres');
done_testing();
