// Package login checks a password by logging in with it: at the Plesk XML API, at
// a Redis port, or at an SSH server. Its functions return nil if the login
// succeeds, a *[RefusedError] with the system's code if the system refuses the
// password, and another error if there is no usable answer.
//
// The package does not depend on the simulator and works with the real systems
// too.
package login

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// RefusedError is returned if the system refuses the password.
type RefusedError struct {
	Code string // Plesk: errcode; Redis: the first word of the error; SSH: password
}

func (e *RefusedError) Error() string { return "login refused: " + e.Code }

// timeout limits the duration of a login.
const timeout = 15 * time.Second

// maxAnswer limits the size of an answer.
const maxAnswer = 1 << 20

// Plesk logs in at a Plesk server (https://host:8443) with get_protos, the
// lightest operation that requires authentication. caPEM is the CA to trust; nil
// means the system's CAs.
//
// See https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/xml-api-packets/packet-structure.28722
func Plesk(ctx context.Context, baseURL string, caPEM []byte, name, password string) error {
	const packet = `<?xml version="1.0" encoding="UTF-8"?><packet><server><get_protos/></server></packet>`
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(baseURL, "/")+"/enterprise/control/agent.php", strings.NewReader(packet))
	if err != nil {
		return fmt.Errorf("building the request: %w", err)
	}
	request.Header.Set("Content-Type", "text/xml")
	// Set would canonicalize the names, which Plesk documents in upper case.
	request.Header["HTTP_AUTH_LOGIN"] = []string{name}
	request.Header["HTTP_AUTH_PASSWD"] = []string{password}
	client, err := httpClient(caPEM)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("asking Plesk: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // read only
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading Plesk's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("asking Plesk: HTTP status %d", response.StatusCode)
	}
	return pleskAnswer(body)
}

func pleskAnswer(body []byte) error {
	type result struct {
		Status string `xml:"status"`
		Code   string `xml:"errcode"`
	}
	var packet struct {
		XMLName xml.Name `xml:"packet"`
		System  *result  `xml:"system"`
		Result  *result  `xml:"server>get_protos>result"`
	}
	if err := xml.Unmarshal(body, &packet); err != nil {
		return errors.New("asking Plesk: the answer is not a packet")
	}
	answer := packet.Result
	if packet.System != nil {
		answer = packet.System
	}
	switch {
	case answer == nil:
		return errors.New("asking Plesk: the answer has no result")
	case answer.Status == "ok" && packet.System == nil:
		return nil
	case answer.Code == "":
		return errors.New("asking Plesk: the answer has no code")
	}
	return &RefusedError{Code: answer.Code}
}

func tlsConfig(caPEM []byte) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caPEM != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(caPEM) {
			return nil, errors.New("the CA file contains no certificate")
		}
	}
	return config, nil
}

func httpClient(caPEM []byte) (*http.Client, error) {
	config, err := tlsConfig(caPEM)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: config, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // never send the password to another address
	}, nil
}

// Redis logs in at a Redis port as an ACL account of a Huawei Cloud DCS instance,
// which sends AUTH with the single argument name:password. An empty name or
// "default" is the default account, which sends only the password.
//
// See https://support.huaweicloud.com/eu/usermanual-dcs/dcs-ug-221220.html
func Redis(ctx context.Context, address, name, password string) error {
	return redis(ctx, &net.Dialer{}, address, name, password)
}

// RedisTLS does the same over TLS. caPEM is the CA to trust; nil means the
// system's CAs.
func RedisTLS(ctx context.Context, address string, caPEM []byte, name, password string) error {
	config, err := tlsConfig(caPEM)
	if err != nil {
		return err
	}
	return redis(ctx, &tls.Dialer{Config: config}, address, name, password)
}

func redis(ctx context.Context, dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}, address, name, password string) error {
	secret := name + ":" + password
	if name == "" || name == "default" {
		secret = password
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("connecting to Redis: %w", err)
	}
	defer func() { _ = conn.Close() }() // nothing was left to write
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fmt.Errorf("connecting to Redis: %w", err)
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, Command("AUTH", secret)); err != nil {
		return fmt.Errorf("asking Redis: %w", err)
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxAnswer)).ReadString('\n')
	if err != nil {
		return fmt.Errorf("reading Redis's answer: %w", err)
	}
	line = strings.TrimSuffix(line, "\r\n")
	switch {
	case line == "+OK":
		return nil
	case strings.HasPrefix(line, "-"):
		code, _, _ := strings.Cut(line[1:], " ")
		return &RefusedError{Code: code}
	}
	return errors.New("asking Redis: the answer is neither OK nor an error")
}

// Command encodes a Redis command in RESP,
// https://redis.io/docs/latest/develop/reference/protocol-spec/.
func Command(words ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}
