# What needs sessions of their own: 10,000 scans, a cancel and a lost connection in the middle of COPY.
use strict;
use warnings;
use File::Temp;
use IPC::Open3;
use Symbol 'gensym';
use lib 'regress/t';
use Psql;
use Test::More;

$database = 'penstock_scan';
my $name = "penstock_scan_$$";    # of the session at work
$ENV{PGOPTIONS} = '-c client_min_messages=warning';

# Servers that check themselves are slower by this factor: they are given so many times less to do.
my $slowdown = $ENV{REGRESS_SLOWDOWN} || 1;

# A script's answers, without its errors, which are expected.
sub script
{
	my ($text) = @_;
	my $file = File::Temp->new;
	print $file $text;
	close($file);
	my $answer = qx{psql -XqAt -d $database -f $file 2>&1};
	$answer =~ s/^psql:.*\n|^(DETAIL|HINT|CONTEXT|query).*\n//mg;
	return $answer;
}

sql("DROP DATABASE IF EXISTS $database", 'postgres');
sql("CREATE DATABASE $database TEMPLATE template0", 'postgres');
sql('CREATE EXTENSION penstock');
sql('CREATE TABLE t (id int PRIMARY KEY, word text, amount numeric(10, 2), days date[])');
sql(q{INSERT INTO t SELECT i, 'word ' || i, CASE WHEN i = 90 THEN 'NaN' ELSE i::numeric END, ARRAY[date '2020-01-01' + i] FROM generate_series(1, 100) i});
my $version = sql('SHOW server_version_num');

SKIP:
{
	skip 'pg_backend_memory_contexts came with PostgreSQL 14', 2 if $version < 140000;

	# Whole ones, ones that LIMIT leaves, that fail in the middle, that are caught, that a cursor leaves.
	my @kinds = (
		q{SELECT count(*) FROM (SELECT penstock.scan('SELECT * FROM t WHERE id < 50')) x \g /dev/null},
		q{SELECT penstock.scan('SELECT * FROM t', 1000) LIMIT 2 \g /dev/null},
		q{SELECT penstock.scan('SELECT * FROM t', 1000) \g /dev/null},
		q{DO $$ BEGIN PERFORM penstock.scan('SELECT * FROM t', 1000); EXCEPTION WHEN OTHERS THEN END $$;},
		q{BEGIN; DECLARE c CURSOR FOR SELECT penstock.scan('SELECT word::xml, id::money FROM t'); MOVE 1 FROM c; COMMIT;});
	my $held = 'SELECT sum(total_bytes) FROM pg_catalog.pg_backend_memory_contexts;';
	my $lot = join("\n", map { join("\n", @kinds) } 1 .. 400 / $slowdown);
	my @held = split(/\n/, script(join("\n", map { "$lot\n$held" } 1 .. 5)));
	note("bytes held: @held");
	is(scalar(@held), 5, int(10_000 / $slowdown) . ' scans in one session');
	cmp_ok($held[4] - $held[1], '<=', 65536, 'hold memory constant');
}

# In one transaction memory is given back as well.
SKIP:
{
	skip 'pg_backend_memory_contexts came with PostgreSQL 14', 1 if $version < 140000;
	my $grown = sql((q{
		CREATE FUNCTION grown() RETURNS bigint LANGUAGE plpgsql AS $$
		DECLARE
			held bigint[];
		BEGIN
			FOR lot IN 1..3 LOOP
				FOR i IN 1..1000 / SLOWDOWN LOOP
					PERFORM penstock.scan('SELECT * FROM t WHERE id < 50', 1000);
				END LOOP;
				held := held || (SELECT sum(total_bytes)::bigint FROM pg_catalog.pg_backend_memory_contexts);
			END LOOP;
			RETURN held[3] - held[2];
		END $$;
		SELECT grown()} =~ s/SLOWDOWN/$slowdown/r));
	cmp_ok($grown, '<=', 65536, 'scans of one transaction hold memory constant');
}

# What a large list has taken goes with its frame; the small rows behind it do not keep it.
SKIP:
{
	skip 'pg_backend_memory_contexts came with PostgreSQL 14', 1 if $version < 140000;
	my @held = split(/\n/, script(q{
		BEGIN;
		DECLARE c CURSOR FOR SELECT penstock.scan('SELECT CASE WHEN i = 1 THEN array_fill(i, ARRAY[8000000]) ELSE ARRAY[i] END FROM generate_series(1::int8, 10) i', 1);
		MOVE 3 FROM c;
		SELECT sum(total_bytes) < 32000000 FROM pg_catalog.pg_backend_memory_contexts;
		COMMIT;}));
	is("@held", 't', 'a large list is given back');
}

# A COPY without end by a session of its own, read until it is under way: (pid of psql, output, errors)
sub start_copy
{
	local $ENV{PGAPPNAME} = $name;
	my $pid = open3(my $in, my $out, my $errors = gensym, 'psql', '-XqAt', '-d', $database,
		'-c', q{COPY (SELECT penstock.scan('SELECT i, md5(i::text) FROM (SELECT generate_series(1, 1000000000000) AS i) x, t LIMIT 1000000000', 10000)) TO STDOUT (FORMAT binary)},
		'-c', q{SELECT 'alive'});
	close($in);
	read($out, my $begin, 100000) == 100000 or die 'the copy has not begun';
	return ($pid, $out, $errors, $begin);
}

# Waits in the server until no session of the name is left.
sub gone
{
	return sql(qq{
		DO \$\$
		BEGIN
			FOR i IN 1..600 LOOP
				EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '$name');
				PERFORM pg_sleep(0.05), pg_stat_clear_snapshot();
			END LOOP;
		END \$\$;
		SELECT count(*) FROM pg_stat_activity WHERE application_name = '$name'}) == 0;
}

my $started = sql('SELECT pg_postmaster_start_time()');

my ($pid, $out, $errors, $begin) = start_copy();
is(substr($begin, 0, 11), "PGCOPY\n\xff\r\n\0", 'a copy without end begins');
is(sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = '$name'"), 't', 'it is cancelled');
my $rest = do { local $/; <$out> };
my $told = do { local $/; <$errors> };
waitpid($pid, 0);
like($told, qr/canceling statement due to user request/, 'the cancel is told');
like($rest, qr/alive\n\z/, 'and the session goes on');

($pid, $out, $errors) = start_copy();
kill('KILL', $pid);
close($out);
waitpid($pid, 0);
ok(gone(), 'a session whose client is lost ends');

($pid, $out, $errors) = start_copy();
is(sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '$name'"), 't', 'one is terminated');
1 while read($out, $rest, 1 << 20);
$told = do { local $/; <$errors> };
waitpid($pid, 0);
# In the middle of a message the server can but close.
like($told, qr/terminating connection|server closed the connection/, 'that is told');
ok(gone(), 'and it ends');

is(sql("SET lock_timeout = '5s'; DROP TABLE t; SELECT 'dropped'"), 'dropped', 'no lock is left');
is(sql('SELECT pg_postmaster_start_time()'), $started, 'and the server has not crashed');

sql("DROP DATABASE $database", 'postgres');
done_testing();
