# Psql.pm - statements by psql, each in a session of its own, for the tests here: use lib 'regress/t'; use Psql;
package Psql;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw($database sql sql_in);
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

1;
