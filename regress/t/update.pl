# The next version over this one: old script and new library, the update, new script and old library, dumps.
# On servers of its own, with a next version that is made here.
use strict;
use warnings;
use File::Copy;
use File::Temp 'tempdir';
use Test::More;

sub slurp { my ($path) = @_; open(my $f, '<', $path) or die "$path: $!"; local $/; return scalar <$f>; }
sub spit { my ($path, $text) = @_; open(my $f, '>', $path) or die "$path: $!"; print $f $text; close($f) or die; }
sub run { system(@_) == 0 or die "failed: @_"; }
sub output { my $out = qx{$_[0]}; die "failed: $_[0]" if $?; chomp $out; return $out; }

sub edit
{
	my ($path, @changes) = @_;
	my $text = slurp($path);
	while (my ($pattern, $new) = splice(@changes, 0, 2))
	{
		$text =~ s/$pattern/$new/ or die "$path has no $pattern";
	}
	spit($path, $text);
}

my ($version) = slurp('extension/penstock.control') =~ /^default_version = '(\d+\.\d+)'/m or die 'no version';
my ($major, $minor) = split(/\./, $version);
my $next = "$major." . ($minor + 1);
my $kept = "_${major}_$minor";

# A tree of the next version: a function more, one with another text, one with an argument more, two gone.
sub make_next
{
	my ($tree) = @_;
	run("tar -cf - extension sql wire scripts bridge/include | tar -C '$tree' -xf -");
	run("scripts/install-sql sql wire/types.def >'$tree/sql/releases/penstock--$version.sql'");
	edit("$tree/extension/penstock.control", qr/^default_version = .*/m, "default_version = '$next'");
	edit("$tree/bridge/include/penstock.h", qr/(?<=PST_VERSION_MINOR )\d+/, $minor + 1);
	my $catalog = slurp("$tree/sql/10_catalog.sql");
	$catalog =~ s/(CREATE FUNCTION penstock\.describe.*?AS \$penstock\$\n)/$1-- of the next version\n/s or die 'no describe';
	spit("$tree/sql/10_catalog.sql", $catalog);
	edit("$tree/sql/30_scan.sql", qr/(?=\)\nRETURNS SETOF)/, ', compress boolean DEFAULT false', qr/(?=\) IS)/, ', boolean');
	edit("$tree/extension/scan.c", qr/"scan", 5, 5/, '"scan", 5, 6', qr/(?<="max_rows")/, ', "compress"');
	edit("$tree/sql/11_doctor.sql", qr/CREATE FUNCTION penstock\.grants.*?;\n\nCOMMENT ON FUNCTION penstock\.grants.*?;\n/s, '');
	edit("$tree/sql/40_apply.sql", qr/CREATE FUNCTION penstock\.delete_sql.*?\$penstock\$;\n\nCOMMENT ON FUNCTION penstock\.delete_sql.*?;\n/s, '');
	spit("$tree/sql/70_fresh.sql", "-- install\nCREATE FUNCTION penstock.fresh() RETURNS int\nLANGUAGE c STABLE\n" .
		"AS 'MODULE_PATHNAME', 'penstock_fresh';\n\nCOMMENT ON FUNCTION penstock.fresh() IS 'new';\n-- end\n");
	spit("$tree/extension/fresh.c", "#include \"postgres.h\"\n#include \"fmgr.h\"\nPG_FUNCTION_INFO_V1(penstock_fresh);\n" .
		"Datum penstock_fresh(PG_FUNCTION_ARGS) { PG_RETURN_INT32(2); }\n");
	local $ENV{MAKEFLAGS} = '';
	return output("'$tree/scripts/extension' stage");
}

if (!$ENV{PENSTOCK_NEXT})
{
	my $config = output('scripts/extension pg-config');
	my $bin = output("'$config' --bindir");
	$ENV{PG_CONFIG} = $config;
	my $stage = output('MAKEFLAGS= scripts/extension stage');
	my $tree = tempdir('penstock-next.XXXXXX', TMPDIR => 1, CLEANUP => 1);
	$ENV{PENSTOCK_NEXT} = make_next($tree);
	$ENV{PENSTOCK_STAGE} = $stage;
	my $code = system('scripts/cluster', '--bin', $bin, '--extension', $stage, '--', $^X, $0);
	exit($code >> 8 || ($code ? 1 : 0));
}

# ---- in the server of our own ----

my $config = $ENV{PG_CONFIG};
my $tree = "$ENV{PENSTOCK_CLUSTER}/tree";
my ($lib, $share) = (output("'$config' --pkglibdir"), output("'$config' --sharedir") . '/extension');
my %stage = (old => $ENV{PENSTOCK_STAGE}, new => $ENV{PENSTOCK_NEXT});
my %number = (old => $version, new => $next);

# The library file of old or new, as another file of that name: as a package manager does it.
sub put_library
{
	my ($which) = @_;
	copy("$stage{$which}$lib/penstock.so", "$tree$lib/penstock.so.put") or die "copy: $!";
	chmod(0755, "$tree$lib/penstock.so.put");
	rename("$tree$lib/penstock.so.put", "$tree$lib/penstock.so") or die "rename: $!";
}

sub put_scripts
{
	my ($which) = @_;
	unlink(glob("$tree$share/penstock*"));
	for my $file (glob("$stage{$which}$share/penstock*"))
	{
		copy($file, "$tree$share") or die "copy: $!";
	}
}

# (answer, what was told besides)
sub ask
{
	my ($database, @statements) = @_;
	my $file = File::Temp->new;
	print $file "\\set VERBOSITY verbose\n", map { /^\\/ ? "$_\n" : "$_;\n" } @statements;
	close($file);
	my $told = File::Temp->new;
	my $answer = qx{psql -XqAt -d $database -f $file 2>$told};
	chomp $answer;
	return ($answer, slurp($told));
}

sub sql
{
	my ($answer, $told) = ask(@_);
	die "@_: $told" if $told =~ /ERROR/;
	return $answer;
}

sub members
{
	return sql($_[0], q{SELECT string_agg(concat_ws(' ', p.oid::regprocedure, md5(concat(p.prosrc, p.probin)), p.provolatile, p.proparallel, p.proisstrict,
		p.prorows, p.procost, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), p.proconfig, obj_description(p.oid, 'pg_proc')), E'\n' ORDER BY p.oid::regprocedure::text COLLATE "C")
		FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'penstock'});
}

my $doctor = q{SELECT status, message, fix FROM penstock.doctor() WHERE "check" = 'transport'};
my @users = (
	q{SELECT columns FROM keys},
	q{SELECT octet_length(string_agg(message, '')) > 100 FROM messages},
	q{SELECT lines > 2 FROM granted},
	q{SELECT conditions(2)},
	q{SELECT pieces()});
my @answers = ('["id"]', 't', 't', '2', '4');

for my $database ('old', 'narrow')
{
	sql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	sql($database, 'CREATE EXTENSION penstock');
}
sql('postgres', 'CREATE ROLE flink', 'CREATE ROLE other');
sql('old',
	'CREATE TABLE orders (id int PRIMARY KEY, total numeric(10,2))',
	q{INSERT INTO orders SELECT i, i / 4.0 FROM generate_series(1, 1000) i},
	q{CREATE VIEW keys AS SELECT penstock.describe('orders')->'primary_key'->'columns' AS columns},
	q{CREATE VIEW messages AS SELECT penstock.scan('TABLE orders', max_rows => 100) AS message},
	q{CREATE VIEW granted AS SELECT count(*) AS lines FROM penstock.grants('read', 'flink')},
	q{CREATE FUNCTION conditions(n int) RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM penstock.partitions('orders', n, 'id') $$},
	q{CREATE FUNCTION pieces() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM (SELECT penstock.scan('TABLE orders', 1048576, 'error', '{}', 500)) m); END $$},
	'REVOKE USAGE ON SCHEMA penstock FROM PUBLIC',
	'GRANT USAGE ON SCHEMA penstock TO flink',
	'GRANT SELECT ON keys, messages TO flink',
	'REVOKE EXECUTE ON FUNCTION penstock.describe FROM PUBLIC',
	'GRANT EXECUTE ON FUNCTION penstock.describe TO flink',
	'REVOKE EXECUTE ON FUNCTION penstock.scan FROM PUBLIC',
	'GRANT EXECUTE ON FUNCTION penstock.scan TO flink WITH GRANT OPTION');
my $rights = q{SELECT string_agg(concat_ws(' ', r, has_schema_privilege(r, 'penstock', 'USAGE'), has_function_privilege(r, 'penstock.describe(regclass)', 'EXECUTE')), ', ' ORDER BY r)
	FROM unnest('{flink,other}'::text[]) r};
is_deeply([map { sql('old', $_) } @users], \@answers, 'what a user has made works');
my $rights_before = sql('old', $rights);
is($rights_before, 'flink t t, other f f', 'and rights are as they were given');
my $dump = output('pg_dump -d old');
my $version_now = 'SELECT library, script FROM penstock.version()';
is(sql('old', $version_now), "$version.0|$version", 'library and script are one version');
like(sql('old', $doctor), qr/^ok\|assisted reads by the extension penstock \Q$version\E\|$/, 'doctor finds nothing');

# ---- from what was released to today's ----

sql('postgres', 'CREATE DATABASE today TEMPLATE template0');
sql('today', 'CREATE EXTENSION penstock');
for my $released (map { m{/penstock--([0-9.]+)\.sql$} && $1 ne $version ? $1 : () } glob('sql/releases/*'))
{
	sql('postgres', 'CREATE DATABASE released TEMPLATE template0');
	sql('released', "CREATE EXTENSION penstock VERSION '$released'");
	is(sql('released', q{SELECT count(*) FROM (SELECT penstock.scan('SELECT 1')) m}), '3', "today's library serves the script of $released");
	sql('released', 'ALTER EXTENSION penstock UPDATE');
	is(members('released'), members('today'), "and its update makes today's extension of it");
	sql('postgres', 'DROP DATABASE released');
}

# ---- an old script, a new library ----

put_library('new');
is(sql('old', $version_now), "$next.0|$version", 'a new library serves an old script');
is_deeply([map { sql('old', $_) } @users], \@answers, 'what a user has made works with it');
put_scripts('new');
is(sql('old', $doctor), "reduced|assisted reads by the extension penstock $version; the server has $next|ALTER EXTENSION penstock UPDATE;",
	'doctor has the statement that is due');

# ---- a session that loaded the old library before ----

put_library('old');
my ($answer, $told) = ask('narrow', 'SELECT penstock.library_version()',
	"\\! cp '$stage{new}$lib/penstock.so' '$tree$lib/penstock.so.put' && mv '$tree$lib/penstock.so.put' '$tree$lib/penstock.so'",
	'ALTER EXTENSION penstock UPDATE', 'SELECT extversion FROM pg_extension WHERE extname = \'penstock\'',
	"\\! psql -Xq -d narrow -c 'ALTER EXTENSION penstock UPDATE'",
	q{SELECT penstock.scan('SELECT 1')});
like($told, qr/ERROR:  55000: the script of penstock \Q$next\E wants the library file of that version, and this session has loaded that of \Q$version.0\E\n.*HINT:  Connect anew; if that does not help, install penstock \Q$next\E or newer on the server\./s,
	'a session with the old library does not update, and says why');
like($answer, qr/^\Q$version.0\E\n\Q$version\E/, 'and the extension stays what it was');
like($told, qr/ERROR:  55000: penstock\.scan has 6 arguments in this database, and 5 in the library file \Q$version.0\E that this session has loaded\n.*HINT:  Connect anew/s,
	'nor does it call a function that has got an argument');

# ---- the update ----

($answer, $told) = ask('old', 'ALTER EXTENSION penstock UPDATE', $version_now);
is($answer, "$next.0|$next", 'the update is made');
like($told, qr/WARNING:  01000: penstock\.scan stays as penstock\.scan$kept and belongs to the extension no more\nDETAIL:  It is used by view public\.messages\.\nHINT:  Make them anew with penstock\.scan; then DROP FUNCTION penstock\.scan$kept\./,
	'what a view uses of a function with other arguments stays');
like($told, qr/penstock\.grants stays as penstock\.grants$kept .*\nDETAIL:  It is used by view public\.granted\.\nHINT:  Once nothing uses it: DROP FUNCTION penstock\.grants$kept\./,
	'and of one that is gone');
like($told, qr/HINT:  Run: REVOKE ALL ON FUNCTION penstock\.scan FROM PUBLIC; GRANT EXECUTE ON FUNCTION penstock\.scan TO flink WITH GRANT OPTION;\n/,
	'rights on a function that is made anew are told as statements');
unlike($told, qr/delete_sql/, 'what nobody uses goes without a word');
is(sql('old', q{SELECT to_regproc('penstock.delete_sql') IS NULL AND to_regproc('penstock.grants') IS NULL}), 't', 'it is gone');
is_deeply([map { sql('old', $_) } @users], \@answers, 'what a user has made works after the update');
is(sql('old', $rights), $rights_before, 'rights on schema and functions are as before');
is(sql('old', 'SELECT penstock.fresh()'), '2', 'what is new is there');
like(sql('old', $doctor), qr/^ok\|/, 'doctor finds nothing');
sql('postgres', 'CREATE DATABASE fresh TEMPLATE template0');
sql('fresh', 'CREATE EXTENSION penstock');
is(members('old'), members('fresh'), 'an updated extension is what a new one is');

# ---- dumps ----

# Into the server of the next version: of the database as it is now, and as it was before the update. That
# one has rights on a function that has other arguments now, and a view on one that is gone: so the extension
# is made before it is restored, as it was.
my %dumps = (updated => output('pg_dump -d old'), older => $dump);
like($dumps{updated}, qr/CREATE FUNCTION penstock\.scan$kept\(/, 'a dump has the function that is the user\'s now');
for my $which (sort keys %dumps)
{
	my $file = File::Temp->new;
	print $file $dumps{$which};
	close($file);
	sql('postgres', "CREATE DATABASE $which TEMPLATE template0");
	sql($which, "CREATE EXTENSION penstock VERSION '$version'") if $which eq 'older';
	is(system("psql -Xq -v ON_ERROR_STOP=1 -d $which -f $file >$ENV{PENSTOCK_CLUSTER}/restored"), 0, "a dump of the $which one restores");
	sql($which, 'ALTER EXTENSION penstock UPDATE') if $which eq 'older';
	is_deeply([map { sql($which, $_) } @users], \@answers, 'and what a user has made works there');
	is(sql($which, $rights), $rights_before, 'with the rights that were given');
	is(members($which), members('fresh'), 'and the extension is what a new one is');
}

# ---- a new script, an old library ----

put_library('old');
my $older = qr/ERROR:  55000: the database has the extension penstock \Q$next\E, and the server's library file is that of \Q$version.0\E\nHINT:  Install penstock \Q$next\E or newer on the server\./;
for my $statement ('SELECT penstock.fresh()', q{SELECT penstock.scan('TABLE orders')}, $version_now, $users[1])
{
	($answer, $told) = ask('old', $statement);
	like($told, $older, "an old library refuses a new script: $statement");
}
is(sql('old', $users[0]), $answers[0], 'functions without it work');
put_scripts('old');
like(sql('old', $doctor), qr/^blocked\|the extension penstock \Q$next\E .*\Q$version\E.*transport=plain\|-- install penstock \Q$next\E or newer on this server$/s,
	'doctor says what to install');
put_scripts('new');
sql('postgres', 'CREATE DATABASE refused TEMPLATE template0');
($answer, $told) = ask('refused', 'CREATE EXTENSION penstock', 'SELECT count(*) FROM pg_extension WHERE extname = \'penstock\'');
like($told, $older, 'a new script is not installed with an old library');
is($answer, '0', 'and leaves nothing');
put_library('new');
is(sql('refused', 'CREATE EXTENSION penstock', 'SELECT penstock.fresh()'), '2', 'with the library it is');
is(sql('old', 'DROP VIEW messages, granted', "DROP FUNCTION penstock.scan$kept", "DROP FUNCTION penstock.grants$kept",
	'DROP VIEW keys', 'DROP EXTENSION penstock', q{SELECT to_regnamespace('penstock') IS NULL}), 't', 'and goes without a trace');

done_testing();
