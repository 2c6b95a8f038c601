package backend

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// A generic client such as Terraform's vault_generic_endpoint deletes what it has written, unless it is told not to.
func TestWritablePathsCanBeDeletedOrAreDocumented(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../docs/consumers.md")
	require.NoError(t, err)
	documented := regexp.MustCompile("(?s)\n- [^\n]*(?:\n  [^\n]*)*disable_delete").FindString(string(docs))
	require.NotEmpty(t, documented)
	without := 0
	for _, path := range mount(t).backend.Paths {
		if path.Operations[logical.UpdateOperation] == nil || path.Operations[logical.DeleteOperation] != nil {
			continue
		}
		without++
		name, _, _ := strings.Cut(path.Pattern, "/")
		require.Contains(t, documented, "`"+name+"`", "docs/consumers.md has to say disable_delete")
	}
	require.Positive(t, without)
}
