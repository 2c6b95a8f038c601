package health

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The board finds the roles of a connection, also those whose creation has begun, without looking at others.
func TestBoardHasRolesOfEachConnection(t *testing.T) {
	var b Board
	require.Empty(t, b.Of("a"))
	b.Creating("one", "a")
	b.Creating("two", "a")
	b.Creating("three", "b")
	require.Equal(t, []string{"one", "two"}, b.Of("a"))
	require.Zero(t, b.Report(now).Roles, "what is not created yet is not reported")
	require.True(t, b.WithoutPassword("one"))
	require.False(t, b.WithoutPassword("absent"))
	b.Creating("two", "b") // created again after a restored snapshot
	require.Equal(t, []string{"one"}, b.Of("a"))
	require.Equal(t, []string{"three", "two"}, b.Of("b"))
	b.Forget("one")
	b.Forget("absent")
	require.Empty(t, b.Of("a"))
	require.Len(t, b.byConnection, 1, "nothing is left of a connection without roles")
	name, known := b.ConnectionOf("two")
	require.True(t, known)
	require.Equal(t, "b", name)
	_, known = b.ConnectionOf("one")
	require.False(t, known)
}

// What another node has changed does not count any more.
func TestRoleChangedElsewhereMakesBoardIncomplete(t *testing.T) {
	var b Board
	b.Creating("role", "a")
	b.Completed()
	require.True(t, b.Complete())
	b.Changed("role")
	require.False(t, b.Complete())
	require.Empty(t, b.Of("a"))
}
