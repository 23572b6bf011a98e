# Psql.pm - statements by psql, each in a session of its own, for the tests here: use lib 'regress/t'; use Psql;
# And a server of its own for a test, with other settings, or that can be restarted.
package Psql;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw($database sql sql_in own_server restart);
our $database;    # where sql runs what is given no other

# The answer of a statement in a database; what fails ends the test.
sub sql_in
{
	my ($where, $statement) = @_;
	open(my $psql, '-|', 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $where, '-c', $statement) or die "psql: $!";
	my $answer = do { local $/; <$psql> };
	close($psql) or die "failed: $statement";
	chomp($answer //= '');
	return $answer;
}

sub sql
{
	my ($statement, $where) = @_;
	return sql_in($where || $database, $statement);
}

# Runs the test again on a server with these settings (NAME=VALUE), and ends with its code; goes on where it is that run.
sub own_server
{
	my @settings = map { ('--set', $_) } @_;
	return if $ENV{PENSTOCK_OWN_SERVER};
	my $config = $ENV{PG_CONFIG} = qx{scripts/extension pg-config} || die 'no pg_config';
	chomp($config, $ENV{PG_CONFIG});
	chomp(my $bin = qx{'$config' --bindir});
	chomp(my $stage = qx{MAKEFLAGS= scripts/extension stage});
	$ENV{PENSTOCK_OWN_SERVER} = 1;
	my $code = system('scripts/cluster', '--bin', $bin, '--extension', $stage, @settings, '--', $^X, $0);
	exit($code >> 8 || ($code ? 1 : 0));
}

# Stops it and starts it again, or crashes it: restart('crash').
sub restart
{
	my ($how) = @_;
	for my $step ($how ? ($how, 'start') : 'restart')
	{
		system("$ENV{PENSTOCK_CLUSTER}/ctl primary $step >/dev/null") == 0 or die "no $step";
	}
}

1;
