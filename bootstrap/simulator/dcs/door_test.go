package dcs

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
)

func (b *bench) open() string {
	door, err := lab.Listen(b.Context(), "127.0.0.1:0")
	require.NoError(b, err)
	var doors Doors
	require.NoError(b, doors.Serve(b.service, "i1", door))
	b.Cleanup(doors.Close)
	return door.Addr().String()
}

type client struct {
	*testing.T
	conn    net.Conn
	answers *bufio.Reader
}

func dial(t *testing.T, address string) *client {
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return &client{T: t, conn: conn, answers: bufio.NewReader(conn)}
}

// do returns the first line of the answer, or the second line of a bulk string.
func (c *client) do(words ...string) string {
	_, err := c.conn.Write([]byte(login.Command(words...)))
	require.NoError(c, err)
	line, err := c.answers.ReadString('\n')
	require.NoError(c, err)
	if strings.HasPrefix(line, "$") && line != "$-1\r\n" {
		line, err = c.answers.ReadString('\n')
		require.NoError(c, err)
	}
	return strings.TrimSpace(line)
}

func TestAccountsLogInWithSingleString(t *testing.T) {
	b := newBench(t)
	address := b.open()
	c := dial(t, address)
	assert.Contains(t, c.do("PING"), "-NOAUTH")
	assert.Contains(t, c.do("GET", "k"), "-NOAUTH")
	assert.Contains(t, c.do("AUTH", "app:"+other), "-ERR invalid password")
	assert.Contains(t, c.do("AUTH", good+"x"), "-ERR invalid password")
	assert.Contains(t, c.do("AUTH", "app", good), "-WRONGPASS")
	assert.Contains(t, c.do("HELLO", "3"), "-ERR unknown command")
	assert.Equal(t, "+OK", c.do("AUTH", "app:"+good))
	assert.Equal(t, "+PONG", c.do("PING"))
	assert.Equal(t, "+OK", c.do("SET", "k", "v"))
	assert.Equal(t, "v", c.do("GET", "k"))

	result, _ := b.modify(good, other)
	require.Equal(t, "success", result)
	assert.Equal(t, "v", c.do("GET", "k"), "an old session stays open")
	fresh := dial(t, address)
	assert.Contains(t, fresh.do("AUTH", "app:"+good), "-ERR")
	assert.Equal(t, "+OK", fresh.do("AUTH", "app:"+other))

	assert.Equal(t, "+OK", fresh.do("AUTH", good), "the default account has no name")
	assert.Equal(t, "+OK", fresh.do("AUTH", "report:"+good))
	assert.Contains(t, fresh.do("SET", "k", "w"), "-NOPERM")

	b.flip("two_argument_auth", "true")
	assert.Equal(t, "+OK", dial(t, address).do("AUTH", "app", other))
	b.flip("no_password_access", "true")
	free := dial(t, address)
	assert.Contains(t, free.do("AUTH", "app:"+other), "-ERR")
	assert.Equal(t, "+PONG", free.do("PING"))
	for _, e := range b.lab.Journal.List(DoorName, "") {
		assert.NotContains(t, e.Target+e.Result, good)
	}
}
