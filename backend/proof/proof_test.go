package proof

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
)

// While servers restart one by one, each is tried with the password that is in force there, so none refuses a login twice.
func TestPasswordInForceOnPartIsTriedFirst(t *testing.T) {
	of := func(version int) credential.Password { return credential.Password{Version: version} }
	rec := credential.Record{
		Current:    &credential.Current{Password: of(1)},
		Candidates: []credential.Candidate{{Password: of(2), InForceOn: []string{"b"}}},
		Next:       &credential.Next{Password: of(3), Phase: credential.RestartRequired, Stage: credential.RestartRequired, InForceOn: []string{"c"}},
	}
	for part, want := range map[string][]int{"a": {1, 3, 2}, "b": {2, 1, 3}, "c": {3, 1, 2}} {
		var versions []int
		for _, p := range likeliestOn(rec, part, []credential.Password{of(1), of(3), of(2)}) {
			versions = append(versions, p.Version)
		}
		require.Equal(t, want, versions, part)
	}
}
