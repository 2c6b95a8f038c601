package role

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
)

// While servers restart one by one, each is tried with the password that is in force there, so none refuses a login twice.
func TestTrialsBeginWithPasswordInForceOnPart(t *testing.T) {
	r := &Role{Record: credential.Record{
		Current:    &credential.Current{Password: credential.Password{Version: 1, Value: "one"}},
		Candidates: []credential.Candidate{{Password: credential.Password{Version: 2, Value: "two"}, InForceOn: []string{"b"}}},
		Next: &credential.Next{
			Password: credential.Password{Version: 3, Value: "three"}, Phase: credential.RestartRequired, Stage: credential.RestartRequired, InForceOn: []string{"c"},
		},
	}}
	for part, want := range map[string][]int{"a": {1, 3, 2}, "b": {2, 1, 3}, "c": {3, 1, 2}} {
		var versions []int
		for _, p := range TrialsOn(r.Record, part, r.Trials(false)) {
			versions = append(versions, p.Version)
		}
		require.Equal(t, want, versions, part)
	}
}
