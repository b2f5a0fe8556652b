package github

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/gofri/go-github-ratelimit/v2/github_ratelimit/github_primary_ratelimit"
	"github.com/google/go-github/v60/github"

	"github.com/plumbline-dev/plumbline/forge"
)

// translate turns an error of the libraries into one of package forge's where a caller must decide by it, and says what
// was being done.
func translate(doing string, err error) error {
	if err == nil {
		return nil
	}
	var primary *github_primary_ratelimit.RateLimitReachedError
	if errors.As(err, &primary) && primary.ResetTime != nil {
		return &forge.RateLimitError{Doing: doing, Until: *primary.ResetTime}
	}
	var limited *github.RateLimitError
	if errors.As(err, &limited) {
		return &forge.RateLimitError{Doing: doing, Until: limited.Rate.Reset.Time}
	}
	var abuse *github.AbuseRateLimitError
	if errors.As(err, &abuse) {
		// GitHub's advice where it does not say how long: at least a minute.
		// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
		wait := time.Minute
		if abuse.RetryAfter != nil {
			wait = *abuse.RetryAfter
		}
		return &forge.RateLimitError{Doing: doing, Until: time.Now().Add(wait)}
	}
	var token *ghinstallation.HTTPError
	if errors.As(err, &token) && token.Response != nil {
		defer token.Response.Body.Close()
		return byStatus(doing, token.Response, "no token for the App's installation: "+token.Response.Status, err)
	}
	var answer *github.ErrorResponse
	if errors.As(err, &answer) {
		return byStatus(doing, answer.Response, says(answer), err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func byStatus(doing string, resp *http.Response, says string, err error) error {
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return &forge.NotAllowedError{Doing: doing, Says: says, Fix: "check the token or the App's key: GitHub does not know them, or they have expired"}
	case http.StatusForbidden:
		fix := ""
		if strings.Contains(says, "not accessible by") {
			fix = "give the token or the App the permission that this needs"
		}
		return &forge.NotAllowedError{Doing: doing, Says: says, Fix: fix}
	case http.StatusTooManyRequests:
		wait := time.Minute
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
			wait = time.Duration(s) * time.Second
		}
		return &forge.RateLimitError{Doing: doing, Until: time.Now().Add(wait)}
	case http.StatusNotFound, http.StatusGone:
		return fmt.Errorf("%s: %w", doing, forge.ErrNotFound)
	default:
		// The libraries' text repeats the whole URL.
		return fmt.Errorf("%s: GitHub answered %d: %s", doing, resp.StatusCode, says)
	}
}

// says is GitHub's own explanation, on one line.
func says(answer *github.ErrorResponse) string {
	text := answer.Message
	for _, e := range answer.Errors {
		switch {
		case e.Message != "":
			text += "; " + e.Message
		case e.Field != "":
			text += fmt.Sprintf("; %s of %s: %s", e.Field, e.Resource, e.Code)
		}
	}
	if text == "" {
		text = http.StatusText(answer.Response.StatusCode)
	}
	return strings.Join(strings.Fields(text), " ")
}

// status is the status code of the answer behind err, or 0.
func status(err error) int {
	var answer *github.ErrorResponse
	if errors.As(err, &answer) {
		return answer.Response.StatusCode
	}
	return 0
}
