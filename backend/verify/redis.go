package verify

import (
	"context"
	"errors"
	"strings"

	"github.com/gomodule/redigo/redis"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// redisLimit is the maximum length of an answer to AUTH, in bytes.
const redisLimit = 1024

// wrongForm begins the answer of a server that has not looked at the arguments of a command.
const wrongForm = "ERR wrong number of arguments"

// redis logs in with a single AUTH. The library adds no command of its own, retries nothing and keeps no pool.
//
// Accounts of DCS log in with the single argument "username:password"
// (https://support.huaweicloud.com/eu/usermanual-dcs/dcs-ug-221220.html). The form of Redis 6, with two arguments, is tried
// only if the server says that it does not check one: a second wrong login could lock the account.
func (l Login) redis(ctx context.Context) provider.Proof {
	dial := transport.DialTLS
	if l.Plain {
		dial = transport.Dial
	}
	conn, err := dial(ctx, l.endpoint(), l.Address)
	if err != nil {
		return unsent(transport.Failure(err).Reason)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	err = authenticate(&bounded{conn, redisLimit}, l.Username+":"+l.Password)
	if answer, ok := errors.AsType[redis.Error](err); ok && strings.HasPrefix(string(answer), wrongForm) {
		err = authenticate(&bounded{conn, redisLimit}, l.Username, l.Password)
	}
	return redisProof(ctx, err)
}

// authenticate sends AUTH and returns nil for OK, and the server's error as a [redis.Error].
func authenticate(conn *bounded, arguments ...any) error {
	reply, err := redis.NewConn(&line{bounded: conn}, 0, 0).Do("AUTH", arguments...)
	if err == nil && reply != "OK" {
		return errHostile
	}
	return err
}

// line passes on only answers that are a line. The library would allocate whatever length a server announces.
type line struct {
	*bounded
	begun bool
}

// Read fails if the answer begins as anything else than a line.
func (l *line) Read(p []byte) (int, error) {
	n, err := l.bounded.Read(p)
	if n > 0 && !l.begun && p[0] != '+' && p[0] != '-' {
		return 0, errHostile
	}
	l.begun = l.begun || n > 0
	return n, err
}

// redisProof returns what the answer to AUTH proves. The texts are those of the servers' sources, from Redis 4 to 8 and
// Valkey.
func redisProof(ctx context.Context, err error) provider.Proof {
	answer, answered := errors.AsType[redis.Error](err)
	text := string(answer)
	switch {
	case err == nil:
		return provider.Proof{Verdict: provider.Works, Reason: "Redis accepted the login"}
	case !answered && errors.Is(ctx.Err(), context.Canceled):
		return sent("the login was canceled before Redis answered")
	case !answered && ctx.Err() != nil:
		return sent("Redis did not answer the login in time")
	case !answered:
		return sent("the server closed the connection or did not answer as Redis does; check that verify_address leads to Redis, and verify_tls")
	case text == "ERR invalid password" || text == "WRONGPASS" || strings.HasPrefix(text, "WRONGPASS "):
		return provider.Proof{Verdict: provider.Refused, Reason: "Redis refused the password for this account; it gives the same answer if the account is disabled or does not exist"}
	case strings.Contains(text, "no password is set") || strings.Contains(text, "without any password configured"):
		return sent("Redis requires no password, so a login proves nothing; on DCS, turn off password-free access of the instance")
	case strings.HasPrefix(text, "LOADING "):
		return sent("Redis is loading its data and checks no login yet")
	case strings.HasPrefix(text, "ERR max number of clients"):
		return sent("Redis has too many clients and checks no login; raise maxclients, or close connections")
	case strings.HasPrefix(text, "DENIED "):
		return sent("Redis is in protected mode and accepts no remote login; set a password for its default user")
	case strings.HasPrefix(text, wrongForm):
		return sent("Redis understands neither form of AUTH, so it checked no password")
	default:
		return sent("Redis answered with an error that does not say whether the password is right; see its log")
	}
}
