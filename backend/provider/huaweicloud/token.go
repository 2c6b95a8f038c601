package huaweicloud

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

const (
	// unknownLifetime is how long a token is used if the response has no expiry time. The documented lifetime is 24
	// hours. In any case the service refuses an expired token, which is then renewed.
	unknownLifetime = 10 * time.Minute

	// renewAgain is the interval between attempts to renew a token that is still valid, if IAM does not return a new one.
	// Each failure may hide a refused password.
	renewAgain = 10 * time.Minute

	// userLock is how long a user that IAM has locked is not used. The documented lock time is 15 to 30 minutes.
	userLock = 30 * time.Minute
)

// token is an IAM token. The zero value means no token.
type token struct {
	value transport.Secret
	// renew is when the token is replaced, before it expires.
	renew, expires time.Time
}

// tokens gets IAM tokens with a user's password, and caches the current one:
// https://support.huaweicloud.com/intl/en-us/api-iam/iam_30_0001.html
//
// It is safe for concurrent use: one caller requests a token and the others wait for it, each with its own context.
type tokens struct {
	http     *transport.Client
	endpoint string
	user     string
	domain   string
	project  string
	password transport.Secret
	now      func() time.Time
	refused  *pause

	mu      sync.Mutex
	current token
	flight  *flight
}

// flight is a token request in progress. Its other fields are set when done is closed.
type flight struct {
	done  chan struct{}
	token token
	err   error
}

// get returns a token other than stale, the value of a token that the service refused, or "". With an error,
// the request that needed the token has not been sent.
func (t *tokens) get(ctx context.Context, stale string) (token, error) {
	for {
		t.mu.Lock()
		if value := t.current.value.Reveal(); value != "" && value != stale && t.now().Before(t.current.renew) {
			present := t.current
			t.mu.Unlock()
			return present, nil
		}
		f := t.flight
		if f == nil {
			// Check again: another caller may have been refused in the meantime.
			if err := t.refused.check(); err != nil {
				t.mu.Unlock()
				return token{}, err
			}
			f = &flight{done: make(chan struct{})}
			t.flight = f
			present := t.current
			t.mu.Unlock()
			t.lead(ctx, f, present, stale)
			return f.token, f.err
		}
		t.mu.Unlock()

		select {
		case <-ctx.Done():
			return token{}, transport.NotSent("the attempt was canceled while waiting for a token from IAM")
		case <-f.done:
		}
		switch {
		case f.err == nil && f.token.value.Reveal() != stale:
			return f.token, nil
		case f.err == nil, errors.Is(f.err, context.Canceled), errors.Is(f.err, context.DeadlineExceeded):
			// Only the other caller's context ended, or its token is stale for this one: try again.
			continue
		default:
			result := transport.Failure(f.err)
			result.Unseen, result.Unsent = false, true // the credential was sent once, not once per caller
			return token{}, &transport.Error{Result: result}
		}
	}
}

// lead gets a token for all callers waiting for f.
func (t *tokens) lead(ctx context.Context, f *flight, present token, stale string) {
	got, err := t.fetch(ctx)
	switch {
	case err == nil:
	case transport.Failure(err).Outcome == provider.Denied:
		t.refused.begin(transport.Failure(err))
	default:
		// Keep using the current token until it expires while IAM is unavailable.
		if value := present.value.Reveal(); value != "" && value != stale && t.now().Before(present.expires) {
			present.renew = t.now().Add(renewAgain)
			if present.renew.After(present.expires) {
				present.renew = present.expires
			}
			got, err = present, nil
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f.token, f.err = got, err
	t.current = got
	t.flight = nil
	close(f.done)
}

// tokenRequest is the body of a request for a token.
type tokenRequest struct {
	provider.Hidden
	Auth struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password struct {
				User tokenUser `json:"user"`
			} `json:"password"`
		} `json:"identity"`
		Scope struct {
			Project struct {
				ID string `json:"id"`
			} `json:"project"`
		} `json:"scope"`
	} `json:"auth"`
}

type tokenUser struct {
	provider.Hidden
	Name     string `json:"name"`
	Password string `json:"password"`
	Domain   struct {
		Name string `json:"name"`
	} `json:"domain"`
}

// fetch requests a token once.
func (t *tokens) fetch(ctx context.Context) (token, error) {
	var request tokenRequest
	request.Auth.Identity.Methods = []string{"password"}
	user := &request.Auth.Identity.Password.User
	user.Name, user.Password, user.Domain.Name = t.user, t.password.Reveal(), t.domain
	request.Auth.Scope.Project.ID = t.project
	body, err := transport.JSON(request)
	if err != nil {
		return token{}, err
	}
	asked := t.now()
	// Any value of nocatalog omits the list of all services from the response.
	address := t.endpoint + "/v3/auth/tokens?nocatalog=true"
	response, err := transport.Do(ctx, t.http, http.MethodPost, address, body, func(req *http.Request) {
		req.Header.Set("Content-Type", "application/json;charset=utf8")
	})
	if err != nil {
		return token{}, noToken(err)
	}
	return t.read(response, asked)
}

// read parses the response to a request made at the time asked.
func (t *tokens) read(response *transport.Response, asked time.Time) (token, error) {
	if response.Status != http.StatusCreated {
		return token{}, t.refusal(response)
	}
	value := response.Header.Get("X-Subject-Token")
	if value == "" {
		return token{}, transport.NotSent("the response of IAM has no token; check iam_url")
	}
	life := lifetime(response.Body, asked)
	// Renew after 90% of the lifetime, at least five minutes before expiry, but not before half of the lifetime.
	margin := min(max(life/10, 5*time.Minute), life/2)
	return token{
		value:   transport.NewSecret(value),
		renew:   asked.Add(life - margin),
		expires: asked.Add(life),
	}, nil
}

// lifetime returns how long the token is valid, by IAM's own clock if the response has both times.
func lifetime(body []byte, now time.Time) time.Duration {
	object, _ := ParseObject(body)
	details := object.Object("token")
	expires, err := time.Parse(time.RFC3339Nano, details.Text("expires_at"))
	if err != nil {
		return unknownLifetime
	}
	life := expires.Sub(now)
	if issued, err := time.Parse(time.RFC3339Nano, details.Text("issued_at")); err == nil {
		life = expires.Sub(issued)
	}
	return max(life, 0)
}

// refusal interprets a response of IAM without a token. In every case the call that needed the token was not made.
func (t *tokens) refusal(response *transport.Response) error {
	envelope := ParseEnvelope(response)
	result := provider.Result{
		Outcome:   provider.Unreachable,
		Scope:     provider.ScopeConnection,
		Code:      cmp.Or(envelope.Code, transport.StatusCode(response.Status)),
		RequestID: envelope.RequestID,
		Unseen:    true,
		Reason:    "IAM returned no token; check iam_url, project_id and the state of IAM; nothing was sent to the service",
	}
	switch response.Status {
	case http.StatusTooManyRequests:
		result.Unseen = false
		throttled := transport.Throttled(response, t.now())
		result.Outcome, result.RetryAfter = throttled.Outcome, throttled.RetryAfter
		result.Reason = "IAM throttled requests"
		if result.RetryAfter > 0 {
			result.Reason += " and asked to wait"
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		result.Outcome, result.Unseen = provider.Denied, false
		result.Reason = "IAM refused the connection's user; check username, password, domain_name and project_id (HUAWEI ID accounts, federated users and users with login MFA cannot get tokens)"
		// Too many wrong passwords. If IAM reports this without the code, only in its message, the outcome is Denied.
		if envelope.Code == "IAM.0061" {
			result.Outcome, result.RetryAfter = provider.Busy, userLock
			result.Reason = "IAM has locked the connection's user after too many failed logins; find the source of these logins, or wait"
		}
	default:
		if response.Status >= http.StatusInternalServerError { // there is nothing to correct
			result.Reason = "IAM failed and returned no token, so nothing was sent to the service"
		}
	}
	return &transport.Error{Result: result}
}

// noToken returns the error for a request to IAM without a response. The outcome is Unreachable whether or not the
// request was sent, because getting a token changes nothing.
func noToken(err error) error {
	out := transport.NotSent("IAM returned no readable response; check iam_url and the network")
	out.Cause = errors.Unwrap(err)
	if failure := transport.Failure(err); failure.Outcome == provider.Unreachable {
		out.Result.Reason = "IAM could not be reached: " + failure.Reason
		out.Result.Misconfigured = failure.Misconfigured
	} else {
		out.Result.Unseen = true
	}
	return out
}
