package dcs

import (
	"bufio"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
)

func (b *bench) open() string { return b.openTLS(nil) }

func (b *bench) openTLS(config *tls.Config) string {
	door, err := lab.Listen(b.Context(), "127.0.0.1:0")
	require.NoError(b, err)
	var doors Doors
	require.NoError(b, doors.Serve(b.service, "i1", door, config))
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
	assert.Contains(t, c.do("AUTH", "app", good), "-ERR wrong number of arguments")
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
	assert.Contains(t, free.do("AUTH", "app:"+other), "no password is set")
	for _, e := range b.lab.Journal.List(DoorName, "") {
		assert.NotContains(t, e.Target+e.Result, good)
	}
}

// Redis 6.0 has other errors than Redis 5.0, and DCS offers TLS from there on.
func TestRedis6RefusesWithWrongPassOverTLS(t *testing.T) {
	b := newBench(t)
	i := b.service.instance("i1")
	i.EngineVersion, i.SSL = "6.0", true
	authority, err := lab.NewAuthority()
	require.NoError(t, err)
	address := b.openTLS(authority.ServerConfig())
	require.NoError(t, login.RedisTLS(t.Context(), address, authority.PEM, "app", good))
	var refused *login.RefusedError
	require.ErrorAs(t, login.RedisTLS(t.Context(), address, authority.PEM, "app", other), &refused)
	assert.Equal(t, "WRONGPASS", refused.Code)
	stranger, err := lab.NewAuthority()
	require.NoError(t, err)
	require.ErrorContains(t, login.RedisTLS(t.Context(), address, stranger.PEM, "app", good), "certificate")
	require.Error(t, login.Redis(t.Context(), address, "app", good), "no plain login")
	assert.Equal(t, 1, b.service.Account("i1/a").Logins.Redis)

	b.flip("no_password_access", "true")
	require.ErrorAs(t, login.RedisTLS(t.Context(), address, authority.PEM, "app", good), &refused)
	assert.Equal(t, "ERR", refused.Code)
	_, fields := b.send("GET", "/instances/i1", "", "")
	assert.Equal(t, true, fields["enable_ssl"])
}

func TestTLSNeedsRedis6(t *testing.T) {
	_, err := newInstance(Instance{ID: "i", ProjectID: "p", EngineVersion: "5.0", SSL: true})
	require.ErrorContains(t, err, "enable_ssl")
	_, err = newInstance(Instance{ID: "i", ProjectID: "p", EngineVersion: "7.0", SSL: true})
	require.NoError(t, err)
}

func TestRefusedLoginsAreCounted(t *testing.T) {
	b := newBench(t)
	address := b.open()
	refuse := func(secret string) { assert.Contains(t, dial(t, address).do("AUTH", secret), "-ERR invalid password") }
	refuse("app:" + other)
	refuse("nobody:" + other)
	refuse(other) // the default account
	b.lab.Clock.Advance(14 * time.Minute)
	refuse("app:" + other)
	b.lab.Clock.Advance(2 * time.Minute)
	refuse("app:" + other)
	assert.Equal(t, "+OK", dial(t, address).do("AUTH", "app:"+good))
	assert.Equal(t, LoginState{Redis: 3, Most: 2}, b.service.Account("i1/a").Logins)
	assert.Equal(t, LoginState{Redis: 1, Most: 1}, b.service.Account("i1/d").Logins)
	assert.Equal(t, LoginState{Redis: 5, Most: 4}, b.service.Logins())
	assert.Zero(t, b.service.Account("i1/a").Failed, "does not count towards the lock")
}

// mirror is a Redis server that records the ACL commands it gets.
func mirror(t *testing.T) (address string, commands func() []string) {
	door, err := lab.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	var seen []string
	redis := server.NewServerConn()
	require.NoError(t, redis.Register("AUTH", func(p *server.Peer, _ string, _ []string) { p.WriteOK() }))
	require.NoError(t, redis.Register("ACL", func(p *server.Peer, _ string, args []string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, strings.Join(args, " "))
		p.WriteOK()
	}))
	var loop sync.WaitGroup
	loop.Go(func() {
		for {
			conn, err := door.Accept()
			if err != nil {
				return
			}
			redis.ServeConn(conn)
		}
	})
	t.Cleanup(func() {
		_ = door.Close()
		loop.Wait()
		redis.Close()
	})
	return door.Addr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

func TestRealRedisGetsPasswordWhenChangeIsInForce(t *testing.T) {
	b := newBench(t)
	address, commands := mirror(t)
	b.service.real = newRealRedis(address)
	for _, a := range b.service.instances[0].accounts {
		require.NoError(t, b.service.set(t.Context(), a, a.Password))
	}
	require.Len(t, commands(), 3)
	b.flip("settle_ms", "30000")
	result, _ := b.modify(good, other)
	require.Equal(t, "success", result)
	assert.Equal(t, "UPDATING", b.status(1))
	require.Len(t, commands(), 3, "the previous password works")
	b.lab.Clock.Advance(31 * time.Second)
	assert.Equal(t, "AVAILABLE", b.status(1))
	require.Len(t, commands(), 4)
	assert.Equal(t, "SETUSER default on >app:"+other+" <app:"+good, commands()[3])
}
