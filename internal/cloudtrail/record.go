package cloudtrail

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
)

// record is an event that wrote something, with what tells whose it is. Of its request it holds names alone.
type record struct {
	Event
	account   string // in which it happened
	accessKey string
	role      string // the ARN of the role that the principal has taken on; "" if it has taken on none
	agent     string
	named     map[string]bool // what the request names; nil where nobody asks for it
}

// body is what is read of an event's own JSON:
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
type body struct {
	UserIdentity struct {
		Type           string `json:"type"`
		ARN            string `json:"arn"`
		PrincipalID    string `json:"principalId"`
		AccessKeyID    string `json:"accessKeyId"`
		UserName       string `json:"userName"`
		InvokedBy      string `json:"invokedBy"`
		SessionContext struct {
			SessionIssuer struct {
				ARN string `json:"arn"`
			} `json:"sessionIssuer"`
		} `json:"sessionContext"`
	} `json:"userIdentity"`
	SourceIPAddress    string          `json:"sourceIPAddress"`
	UserAgent          string          `json:"userAgent"`
	ErrorCode          string          `json:"errorCode"`
	ReadOnly           bool            `json:"readOnly"`
	RequestParameters  json.RawMessage `json:"requestParameters"`
	RecipientAccountID string          `json:"recipientAccountId"`
}

// longest is how much of a text of an event is told, in bytes. Who may call the API chooses some of them.
const longest = 300

// read makes a record of an event; false if it wrote nothing. With named it keeps what its request names.
func read(e types.Event, named bool) (record, bool) {
	var b body
	if err := json.Unmarshal([]byte(aws.ToString(e.CloudTrailEvent)), &b); err != nil {
		b = body{} // what stands beside it is enough to name somebody
	}
	if b.ReadOnly || aws.ToString(e.ReadOnly) == "true" || b.ErrorCode != "" || e.EventTime == nil {
		return record{}, false
	}
	who := b.UserIdentity
	r := record{
		Event: Event{
			ID: plain(aws.ToString(e.EventId)), At: e.EventTime.UTC(), Name: plain(aws.ToString(e.EventName)), Service: plain(aws.ToString(e.EventSource)),
			Principal: plain(cmp.Or(who.ARN, who.InvokedBy, who.UserName, aws.ToString(e.Username), who.PrincipalID, who.Type, "somebody whom CloudTrail does not name")),
			Address:   plain(b.SourceIPAddress),
		},
		account: b.RecipientAccountID, accessKey: cmp.Or(who.AccessKeyID, aws.ToString(e.AccessKeyId)),
		role: who.SessionContext.SessionIssuer.ARN, agent: b.UserAgent,
	}
	if named {
		r.named = map[string]bool{}
		var parameters any
		if err := json.Unmarshal(b.RequestParameters, &parameters); err == nil {
			r.name("", parameters)
		}
	}
	return r, true
}

// name notes the texts in a request that name something, by the keys that they stand under: resourceId, roleName, topicArn,
// and lists of them.
func (r *record) name(key string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			r.name(key, inner)
		}
	case []any:
		for _, inner := range v {
			r.name(key, inner)
		}
	case string:
		key = strings.TrimSuffix(strings.ToLower(key), "s")
		if strings.HasSuffix(key, "id") || strings.HasSuffix(key, "name") || strings.HasSuffix(key, "arn") {
			r.named[v] = true
		}
	}
}

// elsewhere reports whether it happened in another account than that of the resource, where something else may have its name.
func (r *record) elsewhere(account string) bool {
	return account != "" && r.account != "" && account != r.account
}

// agentWord is how the Terraform that Plumbline runs calls itself beside what it is. See internal/terraform.
const agentWord = "plumbline/"

// ours reports whether Plumbline's own Terraform did it: it says so, and it has credentials that Plumbline gives it. Saying
// so is not enough, because anybody can.
func (r *record) ours(q Query, accessKey string) bool {
	return strings.Contains(strings.ToLower(r.agent), agentWord) &&
		(accessKey != "" && r.accessKey == accessKey || r.role != "" && slices.Contains(q.Own, r.role))
}

// plain makes one line of a text, of bounded length.
func plain(s string) string {
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '\uFFFD'
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}
