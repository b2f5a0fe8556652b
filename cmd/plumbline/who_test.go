package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/awstest"
)

// TestDriftNamesWhoDidIt: with the real Terraform and the table as it is, a queue of AWS is changed outside. CloudTrail knows by
// whom, and `plumbline drift` says so, until CloudTrail does not want to.
func TestDriftNamesWhoDidIt(t *testing.T) {
	t.Parallel()
	aws := awstest.New(t)
	queues := t.TempDir()
	c := newTestCheckout(t, map[string]string{
		"plumbline.yaml": "defaults:\n  drift: { who: cloudtrail, correct: { resource: update } }\n",
		"jobs/main.tf": `
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
resource "aws_sqs_queue" "jobs" {
  name                       = "jobs"
  visibility_timeout_seconds = 30
}
`,
	})
	c.environ = append(c.environ, "TF_CLI_CONFIG_FILE="+awsMirror(t), awsQueues+"="+queues)
	for name, value := range aws.Environ() {
		c.environ = append(c.environ, name+"="+value)
	}
	c.run(2, "plan")
	c.run(0, "apply")
	queue := filepath.Join(queues, "jobs.json")
	var made queueFile
	text, err := os.ReadFile(queue)
	if err != nil || json.Unmarshal(text, &made) != nil || made.Agent != "plumbline/1" {
		t.Fatalf("the provider has written %s, %v; want that it says who applies", text, err)
	}

	change := func(who, key, agent string) {
		aws.AddEvent(awstest.TrailEvent{
			At: time.Now(), Name: "SetQueueAttributes", Service: "sqs.amazonaws.com", Principal: "arn:aws:iam::111122223333:user/" + who, AccessKey: key, Agent: agent,
			Address: "203.0.113.7", Resources: []string{queueARN("jobs")}, Request: map[string]any{"attributes": map[string]any{"Policy": "canary-5512"}},
		})
	}
	outside := func() {
		t.Helper()
		if err := os.WriteFile(queue, []byte(`{"visibility_timeout": 5}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outside()
	change("ann", "AKIAANN", "console.amazonaws.com")
	change("plumbline", awstest.AccessKey, "Terraform/1.13.0 "+made.Agent) // what it applied a moment ago
	out := c.run(2, "drift")
	const line = "- `aws_sqs_queue.jobs`: `arn:aws:iam::111122223333:user/ann` at 20"
	if !strings.Contains(out, line) || !strings.Contains(out, "with `SetQueueAttributes` of sqs.amazonaws.com, from `203.0.113.7`") || strings.Contains(out, "user/plumbline") || strings.Contains(out, "canary") {
		t.Errorf("drift says:\n%s", out)
	}
	var found []struct {
		Drift struct {
			Findings []struct {
				Who []struct{ By, Event, Service, From string }
			}
		}
	}
	out = c.run(2, "drift", "--json")
	if err := json.Unmarshal([]byte(out[strings.Index(out, "[\n"):]), &found); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if who := found[0].Drift.Findings[0].Who; len(who) != 1 || who[0].By != "arn:aws:iam::111122223333:user/ann" || who[0].Event != "SetQueueAttributes" || who[0].From != "203.0.113.7" {
		t.Errorf("in JSON it was %+v", who)
	}
	aws.Deny("LookupEvents", true)
	out = c.run(2, "drift")
	if strings.Contains(out, "user/ann") || strings.Count(out, "CloudTrail does not say") != 1 || strings.Contains(out, awstest.SecretKey) {
		t.Errorf("where CloudTrail refuses, drift says:\n%s", out)
	}
	out = c.run(0, "drift", "--correct")
	if !strings.Contains(out, "corrected") {
		t.Errorf("the correction says:\n%s", out)
	}
}
