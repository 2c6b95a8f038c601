package promise

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever comes first decides.
func TestFirstDecides(t *testing.T) {
	t.Parallel()
	require.Equal(t, Abandoned, new(Promise).Leave())
	var p Promise
	require.False(t, p.Committed())
	require.True(t, p.Commit())
	require.True(t, p.Committed())
	require.Equal(t, Left, p.Leave())
	require.True(t, p.Commit(), "the next change of the same work")
	require.False(t, p.Claim(), "the response has said that the work continues")

	p = Promise{}
	require.Equal(t, Abandoned, p.Leave())
	require.False(t, p.Commit())
	require.False(t, p.Claim())

	p = Promise{}
	require.True(t, p.Commit())
	require.True(t, p.Claim())
	require.Equal(t, Claimed, p.Leave())
}

func TestWorkWithoutRequestIsCommitted(t *testing.T) {
	t.Parallel()
	var p *Promise
	require.True(t, p.Commit())
	require.True(t, p.Committed())
	require.True(t, p.Claim())
}
