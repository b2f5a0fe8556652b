package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/plumbline-dev/plumbline/internal/awstest"
)

// awsProvider is what Terraform takes for hashicorp/aws: it has one type of it, aws_sqs_queue, and keeps each queue in a
// file, which a test can edit as somebody outside Terraform would. The real provider wants the real AWS.
type awsProvider struct{ dir string }

const (
	awsProgram  = "terraform-provider-aws_v"
	awsVersion  = "6.0.0"
	awsQueues   = "AWS_QUEUES_OF_A_TEST" // the directory of the files; Terraform passes on what begins so
	awsRegistry = "registry.terraform.io/hashicorp/aws"
)

// isAWSProvider reports whether this process was started as that provider.
func isAWSProvider() bool { return strings.HasPrefix(filepath.Base(os.Args[0]), awsProgram) }

func serveAWSProvider() int {
	err := providerserver.Serve(context.Background(), func() provider.Provider { return &awsProvider{os.Getenv(awsQueues)} },
		providerserver.ServeOpts{Address: awsRegistry, ProtocolVersion: 6})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// awsMirror makes a configuration of Terraform's command line that takes the provider from this test binary.
func awsMirror(t *testing.T) (config string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	platform := filepath.Join(dir, "mirror", filepath.FromSlash(awsRegistry), awsVersion, runtime.GOOS+"_"+runtime.GOARCH)
	config = filepath.Join(dir, "terraform.rc")
	text := fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", filepath.Join(dir, "mirror"))
	if err := errors.Join(os.MkdirAll(platform, 0o755), os.Symlink(self, filepath.Join(platform, awsProgram+awsVersion)), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return config
}

func (p *awsProvider) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName, resp.Version = "aws", awsVersion
}
func (p *awsProvider) Schema(context.Context, provider.SchemaRequest, *provider.SchemaResponse) {}
func (p *awsProvider) Configure(context.Context, provider.ConfigureRequest, *provider.ConfigureResponse) {
}
func (p *awsProvider) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{func() resource.Resource { return &awsQueue{p} }}
}
func (p *awsProvider) DataSources(context.Context) []func() datasource.DataSource { return nil }

type awsQueue struct{ *awsProvider }

// queue is a queue in Terraform, and queueFile in its file.
type queue struct {
	Name              string       `tfsdk:"name"`
	VisibilityTimeout int64        `tfsdk:"visibility_timeout_seconds"`
	Policy            *string      `tfsdk:"policy"`
	ARN               types.String `tfsdk:"arn"`
	URL               types.String `tfsdk:"url"`
	ID                types.String `tfsdk:"id"`
}

type queueFile struct {
	VisibilityTimeout int64   `json:"visibility_timeout"`
	Policy            *string `json:"policy"`
	Agent             string  `json:"agent"` // what Terraform called itself beside what it is, when it last wrote
}

func (q *awsQueue) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = "aws_sqs_queue"
}

func (q *awsQueue) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	computed := schema.StringAttribute{Computed: true, PlanModifiers: []planmodifier.String{stringplanmodifier.UseStateForUnknown()}}
	resp.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"name":                       schema.StringAttribute{Required: true, PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()}},
		"visibility_timeout_seconds": schema.Int64Attribute{Required: true},
		"policy":                     schema.StringAttribute{Optional: true, Sensitive: true},
		"arn":                        computed, "url": computed, "id": computed,
	}}
}

func (p *awsProvider) file(name string) string { return filepath.Join(p.dir, name+".json") }

// queueARN is the ARN of a queue.
func queueARN(name string) string {
	return fmt.Sprintf("arn:aws:sqs:%s:%s:%s", awstest.Region, awstest.Account, name)
}

// write keeps a queue, and fills in what AWS computes.
func (p *awsProvider) write(m *queue) error {
	text, err := json.Marshal(queueFile{m.VisibilityTimeout, m.Policy, os.Getenv("TF_APPEND_USER_AGENT")})
	if err != nil {
		return err
	}
	m.ARN = types.StringValue(queueARN(m.Name))
	m.URL = types.StringValue(fmt.Sprintf("https://sqs.%s.amazonaws.com/%s/%s", awstest.Region, awstest.Account, m.Name))
	m.ID = m.URL
	return os.WriteFile(p.file(m.Name), text, 0o600)
}

func (q *awsQueue) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var m queue
	if resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	if err := q.write(&m); err != nil {
		resp.Diagnostics.AddError("make the queue", err.Error())
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
}

func (q *awsQueue) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var m queue
	if resp.Diagnostics.Append(req.State.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	var f queueFile
	text, err := os.ReadFile(q.file(m.Name))
	if errors.Is(err, fs.ErrNotExist) {
		resp.State.RemoveResource(ctx)
		return
	}
	if err = errors.Join(err, json.Unmarshal(text, &f)); err != nil {
		resp.Diagnostics.AddError("read the queue", err.Error())
		return
	}
	m.VisibilityTimeout, m.Policy = f.VisibilityTimeout, f.Policy
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
}

func (q *awsQueue) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var m queue
	if resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	if err := q.write(&m); err != nil {
		resp.Diagnostics.AddError("change the queue", err.Error())
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
}

func (q *awsQueue) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var m queue
	if resp.Diagnostics.Append(req.State.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	if err := os.Remove(q.file(m.Name)); err != nil {
		resp.Diagnostics.AddError("delete the queue", err.Error())
	}
}
