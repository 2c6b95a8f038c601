// Package login tries a password out the way its owner would: at the Plesk XML
// API, at a Redis port, or at an SSH server. It answers nil, a *[RefusedError]
// with the code that the system gave, or another error if the system could not
// be asked.
//
// It knows nothing about the simulator and works against the real systems too.
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

// RefusedError is the answer of a system that does not take the password.
type RefusedError struct {
	Code string // Plesk: errcode; Redis: the first word of the error; SSH: password
}

func (e *RefusedError) Error() string { return "login refused: " + e.Code }

// timeout bounds a login when the context does not.
const timeout = 15 * time.Second

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// Plesk logs in at a Plesk server (https://host:8443) with get_protos, the
// lightest operation that needs a login. caPEM is the CA to trust; nil means the
// system's.
//
// See https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/xml-api-packets/packet-structure.28722
func Plesk(ctx context.Context, baseURL string, caPEM []byte, name, password string) error {
	const packet = `<?xml version="1.0" encoding="UTF-8"?><packet><server><get_protos/></server></packet>`
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(baseURL, "/")+"/enterprise/control/agent.php", strings.NewReader(packet))
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	request.Header.Set("Content-Type", "text/xml")
	// Assigned, not Set: the names have underscores and are documented in capitals.
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
		return errors.New("asking Plesk: the answer is no packet")
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

func httpClient(caPEM []byte) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caPEM != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(caPEM) {
			return nil, errors.New("the CA file holds no certificate")
		}
	}
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: config, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // never take a password elsewhere
	}, nil
}

// Redis logs in at a Redis port as an ACL account of a Huawei Cloud DCS
// instance: AUTH with the single string name:password. An empty name, or
// "default", is the default account, which sends the password alone.
//
// See https://support.huaweicloud.com/eu/usermanual-dcs/dcs-ug-221220.html
func Redis(ctx context.Context, address, name, password string) error {
	secret := name + ":" + password
	if name == "" || name == "default" {
		secret = password
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
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
		return fmt.Errorf("reading the answer of Redis: %w", err)
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
