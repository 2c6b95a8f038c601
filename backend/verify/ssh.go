package verify

import (
	"context"
	"errors"
	"net"
	"regexp"
	"slices"

	"golang.org/x/crypto/ssh"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

const (
	// sshLimit is how much is read from an SSH server, in bytes. A login takes about 5 KiB, plus the server's banner.
	sshLimit = 64 << 10
	// maxConnections is more than a login takes: one for each type of host key, and one for the second authentication method.
	maxConnections = 8
	// maxMessages is how often a server may send a message without a prompt (RFC 4256, section 3.2).
	maxMessages = 8
)

// Errors of the library, compared as a whole: an error with text of the server, such as a disconnection, never equals them.
// They list the methods that the server answered with a failure. A method that succeeded but did not suffice is not listed.
const (
	triedNone     = "ssh: handshake failed: ssh: unable to authenticate, attempted methods [none], no supported methods remain"
	triedPassword = "ssh: handshake failed: ssh: unable to authenticate, attempted methods [none password], no supported methods remain" // #nosec G101 -- not a secret
	triedPrompt   = "ssh: handshake failed: ssh: unable to authenticate, attempted methods [none keyboard-interactive], no supported methods remain"
)

// passwordPrompt matches the prompts of keyboard-interactive that ask for the password, and not for a code or a new password.
var passwordPrompt = regexp.MustCompile(`(?i)^(\S+'s )?password( for \S+)?\s*:?\s*$`)

var (
	errHostKey = errors.New("the server presented another host key")
	errPrompt  = errors.New("the server asks for something else than the password")
)

// sshLogin is one login. It may take several connections, of which only the last one carries the password.
type sshLogin struct {
	Login
	keys hostKeys
	// presented are the keys of the server that are not accepted.
	presented hostKeys
	// prompt: the login uses keyboard-interactive.
	prompt bool
	// trusted: the server presented an accepted key. sent: the password was sent, or was about to be. partial: the server
	// accepted the password and requires more.
	trusted, sent, partial bool
	// messages is how many messages without a prompt the server sent.
	messages int
}

// ssh logs in with the password and disconnects without opening a channel. Each connection offers one authentication method,
// so that the library cannot try another one after a refusal: "password", and, if the server does not offer that,
// "keyboard-interactive" (RFC 4256). A server with keys of several types is asked for them one by one until one is accepted.
func (l Login) ssh(ctx context.Context) provider.Proof {
	keys, err := parseHostKeys(l.HostKeys)
	if err != nil {
		return unsent(err.Error() + "; nothing was sent")
	}
	s := &sshLogin{Login: l, keys: keys}
	offered, others := keys.offer()
	for connections := 0; len(offered) > 0 && connections < maxConnections; connections++ {
		before := len(s.presented)
		err := s.connect(ctx, offered)
		switch negotiation, _ := errors.AsType[*ssh.AlgorithmNegotiationError](err); {
		case s.sent:
			return s.proof(ctx, err)
		case len(s.presented) > before:
			wrong := s.presented[before].kind
			offered = slices.DeleteFunc(offered, func(f family) bool { return f.kind == wrong })
		case negotiation != nil && negotiation.What == "host key":
			offered = nil
			if before == 0 { // see which key it has instead
				offered, others = others, nil
			}
		case err != nil && err.Error() == triedNone && !s.prompt:
			s.prompt = true
		default:
			return s.proof(ctx, err)
		}
	}
	return s.wrongKey()
}

// connect makes one connection and logs in. It returns nil if the server let the account in.
func (s *sshLogin) connect(ctx context.Context, offered []family) error {
	conn, err := transport.Dial(ctx, s.endpoint(), s.Address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	supported := ssh.SupportedAlgorithms()
	config := &ssh.ClientConfig{
		Config:          ssh.Config{KeyExchanges: supported.KeyExchanges, Ciphers: supported.Ciphers, MACs: supported.MACs},
		User:            s.Username,
		HostKeyCallback: s.check,
		Auth:            []ssh.AuthMethod{ssh.PasswordCallback(s.give)},
	}
	if s.prompt {
		config.Auth = []ssh.AuthMethod{ssh.KeyboardInteractive(s.answer)}
	}
	for _, f := range offered {
		config.HostKeyAlgorithms = append(config.HostKeyAlgorithms, f.algorithms...)
	}
	session, channels, requests, err := ssh.NewClientConn(&bounded{conn, sshLimit}, s.Address, config)
	if err != nil {
		return err
	}
	client := ssh.NewClient(session, channels, requests) // which drains what the server sends
	_ = client.Close()
	_ = client.Wait() // for its goroutines; it reports that the connection was closed
	return nil
}

// check is called by the library with the key of the server, once the server has proved that it has it, and before anything
// is sent to it.
func (s *sshLogin) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	s.trusted = s.keys.accept(key)
	if !s.trusted {
		s.presented = append(s.presented, hostKey{ssh.FingerprintSHA256(key), key.Type()})
		return errHostKey
	}
	return nil
}

// give is called by the library for an attempt with the method "password". A second one can only follow partial success,
// because the library never repeats a method that failed.
func (s *sshLogin) give() (string, error) {
	if s.sent {
		s.partial = true
		return "", errPrompt
	}
	s.sent = true
	return s.Password, nil
}

// answer is called by the library for each message of the method "keyboard-interactive". It answers a single hidden prompt for
// the password, once. What a server asks after that says nothing: some ask for a code even if the password was wrong.
func (s *sshLogin) answer(_, _ string, questions []string, echos []bool) ([]string, error) {
	if len(questions) == 0 && s.messages < maxMessages {
		s.messages++
		return nil, nil
	}
	if s.sent || len(questions) != 1 || echos[0] || !passwordPrompt.MatchString(questions[0]) {
		return nil, errPrompt
	}
	s.sent = true
	return []string{s.Password}, nil
}

// proof returns what the end of a connection proves.
func (s *sshLogin) proof(ctx context.Context, err error) provider.Proof {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch {
	case err == nil && s.sent:
		return provider.Proof{Verdict: provider.Works, Reason: "the SSH server accepted the password"}
	case s.partial, s.sent && text == triedNone: // RFC 4252, section 5.1: partial success means that the method succeeded
		return provider.Proof{Verdict: provider.Works, Reason: "the SSH server accepted the password, but requires another authentication method in addition"}
	case s.sent && (text == triedPassword || text == triedPrompt):
		return provider.Proof{Verdict: provider.Refused, Reason: "the SSH server refused the password; it refuses the right one in the same way if it does not let the account log in with one (PermitRootLogin prohibit-password, AllowUsers, a locked account)"}
	case s.sent:
		return s.unanswered(ctx, err)
	default:
		return s.notSent(ctx, err, text)
	}
}

// unanswered returns the proof of a login that ended after the password was sent, without an answer to it.
func (s *sshLogin) unanswered(ctx context.Context, err error) provider.Proof {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return sent("the login was canceled before the SSH server answered the password")
	case ctx.Err() != nil:
		return sent("the SSH server did not answer the password in time")
	case errors.Is(err, errPrompt):
		return sent("the SSH server asks for more than the password, and does not say whether that is right; enable PasswordAuthentication in its sshd_config, or set verify=none")
	default:
		return sent("the SSH server closed the connection instead of answering the password, or asks for a new one because it has expired; read the log of the SSH server")
	}
}

// notSent returns the proof of a login that ended before the password was sent.
func (s *sshLogin) notSent(ctx context.Context, err error, text string) provider.Proof {
	const nothing = "; the password was not sent"
	_, dialing := errors.AsType[*transport.Error](err)
	negotiation, _ := errors.AsType[*ssh.AlgorithmNegotiationError](err)
	switch {
	case err == nil:
		return unsent("the SSH server let the account in without a password, so the login proves nothing; check its sshd_config" + nothing)
	case dialing:
		return unsent(transport.Failure(err).Reason)
	case errors.Is(ctx.Err(), context.Canceled):
		return unsent("the login was canceled before the SSH server asked for the password" + nothing)
	case ctx.Err() != nil:
		return unsent("the server did not complete the SSH handshake in time; check that verify_address leads to an SSH server, and that Fail2Ban has not banned Vault's address" + nothing)
	case negotiation != nil:
		return unsent("the SSH server and Vault have no algorithms in common; update the SSH server" + nothing)
	case text == triedNone, text == triedPrompt:
		return unsent("the SSH server offers no login with a password for this account; enable PasswordAuthentication in its sshd_config, or set verify=none" + nothing)
	case errors.Is(err, errPrompt):
		return unsent("the SSH server asks for something else than the password; enable PasswordAuthentication in its sshd_config, or set verify=none" + nothing)
	case s.trusted:
		return unsent("the SSH server ended the login before it asked for the password, as it does if there are too many logins; read the log of the SSH server" + nothing)
	default:
		return unsent("the server did not complete an SSH handshake; check that verify_address leads to an SSH server, which Windows does not have by default, and that it accepts more connections (MaxStartups)" + nothing)
	}
}

// wrongKey returns the proof of a login that ended because no key of the server is accepted.
func (s *sshLogin) wrongKey() provider.Proof {
	presented := "none of a supported type"
	if len(s.presented) > 0 {
		presented = s.presented.String()
	}
	return unsent("the host key of the SSH server is not in verify_host_key: it presented " + presented + ", but " + s.keys.String() +
		" was expected; the password was not sent. If the key was replaced, compare it on the server itself and write the new one to verify_host_key; otherwise another machine may have answered")
}
