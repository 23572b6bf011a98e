# The output plugin in a replication stream: kills, restarts, prepared transactions, what is spilled, many tables, memory.
# On a server of its own.
use strict;
use warnings;
use lib 'regress/t';
use File::Temp 'tempdir';
use IO::Handle;
use Psql;
use Test::More;
use Time::HiRes 'sleep';

own_server('logical_decoding_work_mem=64kB', 'max_locks_per_transaction=1000', 'max_wal_size=2GB');
$database = 'penstock_stream';
sql("CREATE DATABASE $database", 'postgres');
sql('CREATE EXTENSION penstock');
my $folder = tempdir(CLEANUP => 1);
my $version = sql('SHOW server_version_num');

# Records of a file of pg_recvlogical, each with number and name of its table: a message ends with a line break.
sub records
{
	my ($path) = @_;
	my (@records, %relations, $number);
	open(my $in, '<:raw', $path) or die "$path: $!";
	my $data = do { local $/; <$in> } // '';
	my $at = 0;
	while ($at < length($data))
	{
		die "$path: a message begins with " . ord(substr($data, $at, 1)) if substr($data, $at++, 1) ne "\1";
		while (substr($data, $at, 1) ne "\n")
		{
			my ($kind, $body) = unpack('a N/a', substr($data, $at));
			$at += 5 + length($body);
			my %record = (kind => $kind, body => $body);
			if ($kind eq 'R')
			{
				my ($index, $oid, $leaf, $file, $letters, $schema, $name) = unpack('n N3 a3 n/a n/a', $body);
				$relations{$index} = $name;
			}
			$number = 0 if $kind eq 'B';
			if ($kind =~ /[IUDT]/)
			{
				my $relation = $kind eq 'T' ? undef : unpack('n', substr($body, 0, 2, ''));
				substr($body, 0, 1, '') if $kind ne 'T';
				my ($gap, $shift) = (0, 0);
				for (;; $shift += 7)
				{
					my $byte = ord(substr($body, 0, 1, ''));
					$gap |= ($byte & 0x7f) << $shift;
					last if $byte < 128;
				}
				$number += $gap + 1;
				$record{number} = $number;
				$record{relation} = $relations{$relation} // die "no relation $relation" if defined($relation);
				$body =~ s/^[\x80-\xff]*[\x00-\x7f]//s;
				$record{body} = $body;
				$record{relations} = [map { $relations{$_} // die } unpack('x n*', $body)] if $kind eq 'T';
			}
			push(@records, \%record);
		}
		$at++;
	}
	return @records;
}

sub count { my ($kind, @records) = @_; return scalar(grep { $_->{kind} eq $kind } @records); }

# Starts pg_recvlogical; it ends by itself at the LSN, if there is one.
sub receive
{
	my ($slot, $path, $until, @options) = @_;
	my $pid = fork() // die "fork: $!";
	return $pid if $pid;
	open(STDERR, '>', "$folder/errors");
	exec('pg_recvlogical', '-d', $database, '-S', $slot, '--start', '--no-loop', '-F', '1', '-s', '1', '-f', $path,
		($until ? ('--endpos', $until) : ()), map { ('-o', $_) } @options) or die "pg_recvlogical: $!";
}

# All up to now.
sub drain
{
	my ($slot, $path, @options) = @_;
	my $now = sql('SELECT pg_current_wal_lsn()');
	sql("SELECT pg_logical_emit_message(false, 'penstock test', 'end')");
	waitpid(receive($slot, $path, $now, @options), 0);
	die "pg_recvlogical ended with $?: " . qx{cat $folder/errors} if $? >> 8;
	return records($path);
}

sub wait_until
{
	my ($what, $true) = @_;
	for (1 .. 600) { return 1 if $true->(); sleep(0.1); }
	die "$what did not come";
}

sub make_slot { my ($slot) = @_; sql("SELECT pg_create_logical_replication_slot('$slot', 'penstock')"); }
sub drop_slot
{
	my ($slot) = @_;
	wait_until('the end of a stream', sub { sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '$slot' AND active") == 0 });
	sql("SELECT pg_drop_replication_slot('$slot')");
}

# ---- What is spilled comes whole and in order, beside other transactions
make_slot('spilled');
sql('CREATE TABLE t (id int PRIMARY KEY, a text)');
open(my $other, '|-', 'psql', '-XqAt', '-o', '/dev/null', '-d', $database) or die;
$other->autoflush(1);
print $other "BEGIN; INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i; SAVEPOINT a; INSERT INTO t SELECT i FROM generate_series(30001, 35000) i; ROLLBACK TO a; SAVEPOINT b; DELETE FROM t WHERE id > 15000; RELEASE b;\n";
wait_until('the first part', sub { sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE '%RELEASE b%'") });
sql(q{INSERT INTO t SELECT i FROM generate_series(100001, 100010) i});
print $other "COMMIT;\n";
close($other);
my @got = drain('spilled', "$folder/spilled");
is(join(' ', map { $_->{number} } grep { $_->{kind} =~ /[ID]/ } @got), join(' ', 1 .. 10, 1 .. 25000), 'transactions come one after another, each change with its number');
is(count('D', @got), 5000, 'what was done in a subtransaction comes in its place, what was rolled back does not');
SKIP:
{
	skip 'the server has no statistics of slots', 1 if $version < 140000;
	wait_until('statistics', sub { sql("SELECT coalesce(sum(spill_count), 0) FROM pg_stat_replication_slots WHERE slot_name = 'spilled'") > 0 });
	ok(sql("SELECT spill_txns >= 1 AND total_bytes > 1000000 FROM pg_stat_replication_slots WHERE slot_name = 'spilled'") eq 't', '... and the statistics count it');
}
drop_slot('spilled');

# ---- Prepared transactions come at their commit, also behind a restart; what was prepared and rolled back does not
make_slot('prepared');
sql("BEGIN; INSERT INTO t VALUES (200001); ALTER TABLE t ADD b int; INSERT INTO t VALUES (200002, 'x', 5); PREPARE TRANSACTION 'kept'");
is(count('B', drain('prepared', "$folder/prepared0")), 0, 'a prepared transaction does not come before its commit');
restart();
sql("COMMIT PREPARED 'kept'");
sql("BEGIN; INSERT INTO t VALUES (200003); PREPARE TRANSACTION 'gone'");
sql("ROLLBACK PREPARED 'gone'");
@got = drain('prepared', "$folder/prepared");
is(join('', map { $_->{kind} } @got), 'BRIRIC', '... and then whole, with the columns of each moment');
drop_slot('prepared');

# ---- A consumer that is killed begins again behind what it confirmed; a server that crashes loses nothing
make_slot('killed');
sql("INSERT INTO t SELECT i FROM generate_series(300001, 300100) i");
my $pid = receive('killed', "$folder/killed1");
wait_until('a confirmation', sub { sql("SELECT count(*) FROM pg_stat_replication WHERE flush_lsn >= '" . sql('SELECT pg_current_wal_lsn()') . "'::pg_lsn") > 0 });
kill('KILL', $pid);
waitpid($pid, 0);
is(count('I', records("$folder/killed1")), 100, 'what a consumer has before it is killed is whole');
sql("INSERT INTO t SELECT i FROM generate_series(300101, 300150) i");
@got = drain('killed', "$folder/killed2", 'include=/public\.[a-t]/');
is(count('I', @got), 50, '... and the next one goes on behind what it confirmed');
sql("INSERT INTO t SELECT i FROM generate_series(300151, 300160) i");
restart('crash');
# What was confirmed since the last checkpoint may come again.
@got = drain('killed', "$folder/killed3");
my $tail = join(' ', map { unpack('N', substr($_->{body}, 1, 4)) } (grep { $_->{kind} eq 'I' } @got)[-10 .. -1]);
is($tail, join(' ', 300151 .. 300160), 'a crash of the server loses nothing');
drop_slot('killed');

# ---- Permissions
sql('CREATE ROLE penstock_replicates LOGIN REPLICATION; CREATE ROLE penstock_not LOGIN');
make_slot('permitted');
sql("INSERT INTO t VALUES (400001)");
like(qx{psql -XqAt -U penstock_not -d $database -c "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('permitted', NULL, NULL)" 2>&1},
	qr/permission|must be superuser or replication role/, 'a role that may not replicate reads nothing');
is(qx{psql -XqAt -U penstock_replicates -d $database -c "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('permitted', NULL, NULL)" 2>&1},
	"1\n", 'one that may reads every table, whatever it may SELECT');
drop_slot('permitted');

# ---- Texts are UTF-8 whatever the database's encoding is
sql("CREATE DATABASE penstock_latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'", 'postgres');
$database = 'penstock_latin';
$ENV{PGCLIENTENCODING} = 'UTF8';
sql("SELECT pg_replication_origin_create('n\x{c3}\x{b6}rdlich')");
make_slot('latin');
sql("CREATE TYPE k\x{c3}\x{bc}r AS ENUM ('ja', 'n\x{c3}\x{b6}'); CREATE TABLE gr\x{c3}\x{bc}n (id int PRIMARY KEY, \x{c3}\x{a4} text, e k\x{c3}\x{bc}r, j json, b jsonb, l text[])");
sql("SELECT pg_replication_origin_session_setup('n\x{c3}\x{b6}rdlich'); INSERT INTO gr\x{c3}\x{bc}n VALUES (1, '\x{c3}\x{9f}', 'n\x{c3}\x{b6}', '\"\x{c3}\x{9f}\"', '\"\x{c3}\x{9f}\"', '{\x{c3}\x{9f}}')");
@got = drain('latin', "$folder/latin", 'include=public."gr' . "\x{c3}\x{bc}" . 'n"');
is($got[0]{body} =~ /n\xc3\xb6rdlich$/ ? 1 : 0, 1, 'an origin is UTF-8');
like($got[1]{body}, qr/gr\xc3\xbcn.*\xc3\xa4/s, 'names are UTF-8');
is(scalar(() = $got[2]{body} =~ /\xc3\x9f/g), 4, 'values are UTF-8');
like($got[2]{body}, qr/n\xc3\xb6/, '... also those that are texts of an output function');
drop_slot('latin');
delete $ENV{PGCLIENTENCODING};
$database = 'penstock_stream';

# ---- Thousands of tables: each is described before its rows; a TRUNCATE of them; memory
my $tables = $ENV{PENSTOCK_TABLES} || 5000;
sql(qq{DO \$\$ BEGIN FOR i IN 1 .. $tables LOOP EXECUTE format('CREATE TABLE m%s (id int)', i); IF i % 500 = 0 THEN COMMIT; END IF; END LOOP; END \$\$});
sql(qq{CREATE PROCEDURE fill() LANGUAGE plpgsql AS \$\$ BEGIN FOR i IN 1 .. $tables LOOP EXECUTE format('INSERT INTO m%s VALUES (1)', i); IF i % 500 = 0 THEN COMMIT; END IF; END LOOP; END \$\$});
make_slot('many');
sql('CALL fill()');
@got = drain('many', "$folder/many1");
is(count('I', @got), $tables, 'rows of thousands of tables');
is(count('R', @got), $tables, '... each table described once in a stream that meets it once');
my %names = map { $_->{relation} => 1 } grep { $_->{kind} eq 'I' } @got;
is(scalar(keys %names), $tables, '... under its own name');
sql(q{DO $$ BEGIN EXECUTE (SELECT 'TRUNCATE ' || string_agg(oid::regclass::text, ', ') FROM pg_class WHERE relname ~ '^m\d+$'); END $$});
@got = drain('many', "$folder/many2");
is(join(' ', map { $_->{number} } grep { $_->{kind} eq 'T' } @got), join(' ', 1 .. int(($tables + 4095) / 4096)), 'a TRUNCATE of very many is several changes');
is(join(' ', sort map { @{ $_->{relations} } } grep { $_->{kind} eq 'T' } @got), join(' ', sort map { "m$_" } 1 .. $tables), '... that have each table once');

# Memory of the process that decodes, in kB; what it shares with others does not count.
sub memory_of_sender
{
	my $pid = sql(q{SELECT pid FROM pg_stat_replication});
	open(my $status, '<', "/proc/$pid/status") or return undef;
	my ($kb) = map { /^RssAnon:\s+(\d+) kB/ ? $1 : () } <$status>;
	return $kb;
}
sub sent_up_to_now
{
	my $now = sql('SELECT pg_current_wal_lsn()');
	sql("SELECT pg_logical_emit_message(true, 'penstock test', 'end')");
	wait_until('the stream', sub { sql("SELECT count(*) FROM pg_stat_replication WHERE flush_lsn >= '$now'::pg_lsn") > 0 });
}
$pid = receive('many', '/dev/null');
wait_until('the stream', sub { sql(q{SELECT count(*) FROM pg_stat_replication}) > 0 });
SKIP:
{
	skip 'the system does not tell what memory a process has', 2 if !defined(memory_of_sender());
	for (1 .. 2) { sql('CALL fill()'); sent_up_to_now(); }
	my $before = memory_of_sender();
	for (1 .. 2) { sql('CALL fill()'); sent_up_to_now(); }
	my $after = memory_of_sender();
	cmp_ok($after, '<', $before + 4096, "rounds through $tables tables take no more memory each time ($before kB, then $after kB)");
	sql('CREATE TABLE l (id int, a numeric, b text[], c point, d jsonb)');
	my $load = q{DO $$ BEGIN FOR i IN 1 .. 100 LOOP INSERT INTO l SELECT j, j / 7.0, ARRAY['a', j::text], point(j, 1), '{"a":1}' FROM generate_series(1, 1000) j; PERFORM pg_logical_emit_message(true, 'p', 'c'); COMMIT; END LOOP; END $$};
	sql($load);
	sent_up_to_now();
	$before = memory_of_sender();
	my $rounds = $ENV{PENSTOCK_ROUNDS} ? 10 : 2;
	sql($load) for 1 .. $rounds;
	sent_up_to_now();
	$after = memory_of_sender();
	cmp_ok($after, '<', $before + 2048, "hundreds of thousands of changes take no memory that stays ($before kB, then $after kB)");
}
kill('KILL', $pid);
waitpid($pid, 0);
drop_slot('many');

# ---- Transactions of a later epoch have 64-bit numbers, which are those of penstock.snapshot()
system("$ENV{PENSTOCK_CLUSTER}/ctl primary stop >/dev/null") == 0 or die 'no stop';
my @resetwal = (qx{dirname \$(command -v pg_ctl)} =~ s/\n//r . '/pg_resetwal', '-e', '7', "$ENV{PENSTOCK_CLUSTER}/data");
unshift(@resetwal, 'runuser', '-u', scalar(getpwuid((stat("$ENV{PENSTOCK_CLUSTER}/data"))[4])), '--') if $> == 0;
system(@resetwal) == 0 or die 'no pg_resetwal';
system("$ENV{PENSTOCK_CLUSTER}/ctl primary start >/dev/null") == 0 or die 'no start';
make_slot('epoch');
my $xid = sql('WITH i AS (INSERT INTO t VALUES (500001) RETURNING id) SELECT txid_current() FROM i');
cmp_ok($xid >> 32, '==', 7, 'the server counts in a later epoch');
my ($begin) = drain('epoch', "$folder/epoch");
is(unpack('Q>', $begin->{body}), $xid, '... and so does a record');
sql("ALTER DATABASE $database SET default_transaction_isolation = 'repeatable read'");
is(sql("SELECT next_xid::text::bigint >> 32 FROM penstock.snapshot()"), 7, '... and a snapshot');
drop_slot('epoch');
done_testing();
