package awstest

import (
	"context"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
)

// Role is a role of IAM, as far as STS asks for it.
type Role struct {
	// Trusts are those who may assume it: access keys, ARNs of roles, and tokens of web identity.
	Trusts []string
	// NoTags has its trust policy lack sts:TagSession.
	NoTags bool
	// Longest is how long a session may last; zero is an hour.
	Longest time.Duration
}

// Session is what STS has given to somebody who assumed a role.
type Session struct {
	Role, Name               string
	Tags                     map[string]string
	Lasts                    time.Duration
	AccessKey, Secret, Token string
	// Source is the access key of who has assumed the role; "" with a web identity.
	Source string
}

// What the model of STS says of texts. The SDK leaves it to the service to check.
var (
	sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	tagKey      = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,128}$`)
	tagValue    = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]{0,256}$`)
)

const (
	shortest = 15 * time.Minute // of a session
	usual    = time.Hour
	chained  = time.Hour // the longest of a session that was made with another one
)

// AddRole makes a role of the account and returns its ARN.
func (s *Server) AddRole(name string, r Role) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	arn := fmt.Sprintf("arn:aws:iam::%s:role/%s", Account, name)
	s.roles[arn] = r
	return arn
}

// Sessions returns those that were made so far.
func (s *Server) Sessions() []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sessions)
}

func (s *Server) addSTS() {
	handleQuery(s, "AssumeRole", true, func(c *sts.Client, in *sts.AssumeRoleInput) (*sts.AssumeRoleOutput, error) {
		return c.AssumeRole(context.Background(), in)
	}, s.assumeRole)
	handleQuery(s, "AssumeRoleWithWebIdentity", false, func(c *sts.Client, in *sts.AssumeRoleWithWebIdentityInput) (*sts.AssumeRoleWithWebIdentityOutput, error) {
		return c.AssumeRoleWithWebIdentity(context.Background(), in)
	}, s.assumeRoleWithWebIdentity)
	handleQuery(s, "GetCallerIdentity", true, func(c *sts.Client, in *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
		return c.GetCallerIdentity(context.Background(), in)
	}, s.callerIdentity)
}

func (s *Server) assumeRole(c *Call, in *sts.AssumeRoleInput) (*sts.AssumeRoleOutput, error) {
	arn, caller := aws.ToString(in.RoleArn), s.identity(c.AccessKey)
	role, known := s.roles[arn]
	from := s.credentials[c.AccessKey].role
	// AWS does not tell a role that does not exist from one that is out of reach.
	if !known || !slices.Contains(role.Trusts, c.AccessKey) && (from == "" || !slices.Contains(role.Trusts, from)) {
		return nil, failure("AccessDenied", "User: %s is not authorized to perform: sts:AssumeRole on resource: %s", caller, arn)
	}
	if len(in.Tags) > 0 && role.NoTags {
		return nil, failure("AccessDenied", "User: %s is not authorized to perform: sts:TagSession on resource: %s", caller, arn)
	}
	tags := map[string]string{}
	for _, tag := range in.Tags {
		key, value := aws.ToString(tag.Key), aws.ToString(tag.Value)
		if !tagKey.MatchString(key) || !tagValue.MatchString(value) {
			return nil, failure("ValidationError", "a tag is not as it must be: %q=%q", key, value)
		}
		if strings.HasPrefix(strings.ToLower(key), "aws:") || strings.HasPrefix(strings.ToLower(value), "aws:") {
			return nil, failure("InvalidParameterValue", "a tag is not as it must be: aws: is reserved")
		}
		for other := range tags {
			if strings.EqualFold(other, key) {
				return nil, failure("InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
			}
		}
		tags[key] = value
	}
	if len(tags) > 50 {
		return nil, failure("ValidationError", "there are %d tags", len(tags))
	}
	session := Session{Role: arn, Name: aws.ToString(in.RoleSessionName), Tags: tags, Source: c.AccessKey}
	made, user, err := s.session(role, session, in.DurationSeconds, from != "")
	if err != nil {
		return nil, err
	}
	return &sts.AssumeRoleOutput{AssumedRoleUser: user, Credentials: made, PackedPolicySize: aws.Int32(int32(len(tags)))}, nil
}

func (s *Server) assumeRoleWithWebIdentity(_ *Call, in *sts.AssumeRoleWithWebIdentityInput) (*sts.AssumeRoleWithWebIdentityOutput, error) {
	arn, token := aws.ToString(in.RoleArn), aws.ToString(in.WebIdentityToken)
	role, known := s.roles[arn]
	if strings.HasSuffix(token, "-expired") {
		return nil, &types.ExpiredTokenException{Message: aws.String("Token expired: current date/time must be before the expiration date/time")}
	}
	if !known || !slices.Contains(role.Trusts, token) {
		return nil, failure("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	}
	made, user, err := s.session(role, Session{Role: arn, Name: aws.ToString(in.RoleSessionName)}, in.DurationSeconds, false)
	if err != nil {
		return nil, err
	}
	return &sts.AssumeRoleWithWebIdentityOutput{
		AssumedRoleUser: user, Credentials: made, SubjectFromWebIdentityToken: aws.String("subject"), Provider: aws.String("issuer"), Audience: aws.String("sts.amazonaws.com"),
	}, nil
}

func (s *Server) callerIdentity(c *Call, _ *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
	return &sts.GetCallerIdentityOutput{Account: aws.String(Account), Arn: aws.String(s.identity(c.AccessKey)), UserId: aws.String("AIDA" + c.AccessKey)}, nil
}

// session makes credentials that the server takes from then on.
func (s *Server) session(role Role, session Session, seconds *int32, fromSession bool) (*types.Credentials, *types.AssumedRoleUser, error) {
	if !sessionName.MatchString(session.Name) {
		return nil, nil, failure("ValidationError", "1 validation error detected: Value '%s' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*", session.Name)
	}
	session.Lasts = usual
	if seconds != nil {
		session.Lasts = time.Duration(*seconds) * time.Second
	}
	longest := max(role.Longest, time.Hour)
	switch {
	case session.Lasts < shortest || session.Lasts > 12*time.Hour:
		return nil, nil, failure("ValidationError", "1 validation error detected: Value '%d' at 'durationSeconds' failed to satisfy constraint", int(session.Lasts.Seconds()))
	case session.Lasts > longest:
		return nil, nil, failure("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	case fromSession && session.Lasts > chained:
		return nil, nil, failure("ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	id := strings.ToUpper(hex.EncodeToString(random(8)))
	session.AccessKey, session.Secret, session.Token = "ASIA"+id, "canary-secret-"+hex.EncodeToString(random(13)), "canary-token/"+hex.EncodeToString(random(40))+"+="
	s.sessions = append(s.sessions, session)
	name := session.Role[strings.LastIndexByte(session.Role, '/')+1:]
	user := &types.AssumedRoleUser{
		Arn:           aws.String(fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/%s", Account, name, session.Name)),
		AssumedRoleId: aws.String("AROA" + id + ":" + session.Name),
	}
	ends := s.now().Add(session.Lasts).UTC().Truncate(time.Second)
	s.credentials[session.AccessKey] = credentials{secret: session.Secret, token: session.Token, role: session.Role, user: *user.Arn, ends: ends}
	return &types.Credentials{
		AccessKeyId: aws.String(session.AccessKey), SecretAccessKey: aws.String(session.Secret), SessionToken: aws.String(session.Token), Expiration: aws.Time(ends),
	}, user, nil
}

// identity is the ARN of who has an access key.
func (s *Server) identity(accessKey string) string {
	if user := s.credentials[accessKey].user; user != "" {
		return user
	}
	return fmt.Sprintf("arn:aws:iam::%s:user/test", Account)
}
