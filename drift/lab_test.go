package drift_test

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

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	dataschema "github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// The lab is a real provider that this test binary serves to Terraform. Its one resource has every shape that an attribute
// can have (blocks in lists and sets, objects, maps, sets, sensitive values, computed values that change with each write),
// and keeps each object in a JSON file, which a test can edit or delete as somebody outside Terraform would. It comes in
// two versions: the second has a new default and reads an attribute that the first did not.
const labProgram = "terraform-provider-lab_v"

// labVersions are the versions that the mirror offers.
var labVersions = []string{"1.0.0", "2.0.0"}

// serveLab answers Terraform if this process was started as the provider, and reports whether it was.
func serveLab() bool {
	_, version, ok := strings.Cut(filepath.Base(os.Args[0]), labProgram)
	if !ok {
		return false
	}
	l := &lab{dir: os.Getenv("LAB_DIR"), version: version}
	err := providerserver.Serve(context.Background(), func() provider.Provider { return l }, providerserver.ServeOpts{
		Address: "registry.terraform.io/plumbline-dev/lab", ProtocolVersion: 6,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// mirrorLab adds the lab to a provider mirror.
func mirrorLab(t *testing.T, dir string) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range labVersions {
		platform := filepath.Join(dir, "registry.terraform.io", "plumbline-dev", "lab", version, runtime.GOOS+"_"+runtime.GOARCH)
		if err := os.MkdirAll(platform, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(binary, filepath.Join(platform, labProgram+version)); err != nil {
			t.Fatal(err)
		}
	}
}

type lab struct{ dir, version string }

func (l *lab) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName, resp.Version = "lab", l.version
}
func (l *lab) Schema(context.Context, provider.SchemaRequest, *provider.SchemaResponse) {}
func (l *lab) Configure(context.Context, provider.ConfigureRequest, *provider.ConfigureResponse) {
}
func (l *lab) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{func() resource.Resource { return &labThing{l} }}
}
func (l *lab) DataSources(context.Context) []func() datasource.DataSource {
	return []func() datasource.DataSource{func() datasource.DataSource { return &labFact{l} }}
}

// thing is an object of the lab, in Terraform and in its file.
type thing struct {
	Name     string            `tfsdk:"name" json:"name"`
	Size     *int64            `tfsdk:"size" json:"size,omitempty"`
	Zone     *string           `tfsdk:"zone" json:"zone,omitempty"`
	Label    *string           `tfsdk:"label" json:"label,omitempty"`
	Secret   *string           `tfsdk:"secret" json:"secret,omitempty"`
	Tags     map[string]string `tfsdk:"tags" json:"tags,omitempty"`
	Ports    []int64           `tfsdk:"ports" json:"ports,omitempty"`
	Settings *labSettings      `tfsdk:"settings" json:"settings,omitempty"`
	Rules    []labRule         `tfsdk:"rule" json:"rule,omitempty"`
	Disks    []labDisk         `tfsdk:"disk" json:"disk,omitempty"`
	Tier     types.String      `tfsdk:"tier" json:"-"`
	Region   types.String      `tfsdk:"region" json:"-"`
	ID       types.String      `tfsdk:"id" json:"-"`
	Revision types.String      `tfsdk:"revision" json:"-"`
	Status   types.String      `tfsdk:"status" json:"-"`
}

type labSettings struct {
	Mode  string `tfsdk:"mode" json:"mode"`
	Depth *int64 `tfsdk:"depth" json:"depth,omitempty"`
}

type labRule struct {
	Port  int64   `tfsdk:"port" json:"port"`
	Note  *string `tfsdk:"note" json:"note,omitempty"`
	Token *string `tfsdk:"token" json:"token,omitempty"`
}

type labDisk struct {
	Name string `tfsdk:"name" json:"name"`
	Size int64  `tfsdk:"size" json:"size"`
}

// stored is a thing in its file, with what the lab itself sets.
type stored struct {
	thing
	Tier     string `json:"tier,omitempty"`
	Made     int    `json:"made"`
	Revision int    `json:"revision"`
	Status   string `json:"status"`
}

type labThing struct{ *lab }

func (r *labThing) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = "lab_thing"
}

func (r *labThing) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	keep := []planmodifier.String{stringplanmodifier.UseStateForUnknown()}
	replace := []planmodifier.String{stringplanmodifier.RequiresReplace()}
	tier := schema.StringAttribute{Optional: true, Computed: true, PlanModifiers: keep}
	if r.version != labVersions[0] {
		tier.Default = stringdefault.StaticString("standard")
	}
	resp.Schema = schema.Schema{
		Attributes: map[string]schema.Attribute{
			"name":   schema.StringAttribute{Required: true, PlanModifiers: replace},
			"size":   schema.Int64Attribute{Optional: true},
			"zone":   schema.StringAttribute{Optional: true, PlanModifiers: replace},
			"label":  schema.StringAttribute{Optional: true},
			"secret": schema.StringAttribute{Optional: true, Sensitive: true},
			"tags":   schema.MapAttribute{Optional: true, ElementType: types.StringType},
			"ports":  schema.SetAttribute{Optional: true, ElementType: types.Int64Type},
			"settings": schema.SingleNestedAttribute{Optional: true, Attributes: map[string]schema.Attribute{
				"mode":  schema.StringAttribute{Required: true},
				"depth": schema.Int64Attribute{Optional: true},
			}},
			"tier":     tier,
			"region":   schema.StringAttribute{Computed: true, PlanModifiers: keep},
			"id":       schema.StringAttribute{Computed: true, PlanModifiers: keep},
			"revision": schema.StringAttribute{Computed: true},
			"status":   schema.StringAttribute{Computed: true, PlanModifiers: keep},
		},
		Blocks: map[string]schema.Block{
			"rule": schema.ListNestedBlock{NestedObject: schema.NestedBlockObject{Attributes: map[string]schema.Attribute{
				"port":  schema.Int64Attribute{Required: true},
				"note":  schema.StringAttribute{Optional: true},
				"token": schema.StringAttribute{Optional: true, Sensitive: true},
			}}},
			"disk": schema.SetNestedBlock{NestedObject: schema.NestedBlockObject{Attributes: map[string]schema.Attribute{
				"name": schema.StringAttribute{Required: true},
				"size": schema.Int64Attribute{Required: true},
			}}},
		},
	}
}

func (r *labThing) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var m thing
	if resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	made := 1
	if old, err := r.read(m.Name); err == nil {
		made = old.Made + 1 // as create_before_destroy does it: the name is taken over
	}
	s := stored{thing: m, Tier: m.Tier.ValueString(), Made: made, Revision: 1, Status: "ready"}
	if err := r.write(s); err != nil {
		resp.Diagnostics.AddError("lab", err.Error())
		return
	}
	r.fill(&m, s)
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
	if r.denied("create") {
		resp.Diagnostics.AddError("the lab gave up halfway", "it was asked to")
	}
}

func (r *labThing) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var m thing
	if resp.Diagnostics.Append(req.State.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	s, err := r.read(m.Name)
	if errors.Is(err, fs.ErrNotExist) {
		resp.State.RemoveResource(ctx)
		return
	}
	if err != nil {
		resp.Diagnostics.AddError("lab", err.Error())
		return
	}
	id := m.ID
	m = s.thing
	r.fill(&m, s)
	m.ID = id // a deposed object keeps its own
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
}

func (r *labThing) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var m thing
	if resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	old, err := r.read(m.Name)
	if err != nil {
		resp.Diagnostics.AddError("lab", err.Error())
		return
	}
	s := stored{thing: m, Tier: m.Tier.ValueString(), Made: old.Made, Revision: old.Revision + 1, Status: old.Status}
	if err := r.write(s); err != nil {
		resp.Diagnostics.AddError("lab", err.Error())
		return
	}
	r.fill(&m, s)
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
}

func (r *labThing) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var m thing
	if resp.Diagnostics.Append(req.State.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	if r.denied("delete") {
		resp.Diagnostics.AddError("the lab does not let go of "+m.Name, "it was asked not to")
		return
	}
	if s, err := r.read(m.Name); err == nil && fmt.Sprintf("%s-%d", m.Name, s.Made) == m.ID.ValueString() {
		if err := os.Remove(r.file(m.Name)); err != nil {
			resp.Diagnostics.AddError("lab", err.Error())
		}
	}
}

func (r *labThing) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	resource.ImportStatePassthroughID(ctx, path.Root("name"), req, resp)
}

// fill sets what the lab computes.
func (l *lab) fill(m *thing, s stored) {
	m.ID = types.StringValue(fmt.Sprintf("%s-%d", s.Name, s.Made))
	m.Revision = types.StringValue(fmt.Sprintf("r%d", s.Revision))
	m.Status = types.StringValue(s.Status)
	m.Tier, m.Region = types.StringNull(), types.StringNull()
	if s.Tier != "" {
		m.Tier = types.StringValue(s.Tier)
	}
	if l.version != labVersions[0] {
		m.Region = types.StringValue("region-1")
	}
}

func (l *lab) file(name string) string { return filepath.Join(l.dir, name+".json") }

func (l *lab) denied(what string) bool {
	_, err := os.Stat(filepath.Join(l.dir, "deny-"+what))
	return err == nil
}

func (l *lab) read(name string) (s stored, err error) {
	data, err := os.ReadFile(l.file(name))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

func (l *lab) write(s stored) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(l.file(s.Name), data, 0o600)
}

// labFact is a data source: a text in a file.
type labFact struct{ *lab }

func (d *labFact) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = "lab_fact"
}

func (d *labFact) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = dataschema.Schema{Attributes: map[string]dataschema.Attribute{
		"name":  dataschema.StringAttribute{Required: true},
		"value": dataschema.StringAttribute{Computed: true},
		"list":  dataschema.ListAttribute{Computed: true, ElementType: types.StringType},
	}}
}

func (d *labFact) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var m struct {
		Name  string       `tfsdk:"name"`
		Value types.String `tfsdk:"value"`
		List  types.List   `tfsdk:"list"`
	}
	if resp.Diagnostics.Append(req.Config.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	data, err := os.ReadFile(filepath.Join(d.dir, "fact-"+m.Name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		resp.Diagnostics.AddError("lab", err.Error())
		return
	}
	m.Value = types.StringValue(string(data))
	var words []attr.Value
	for _, word := range strings.Fields(string(data)) {
		words = append(words, types.StringValue(word))
	}
	m.List = types.ListValueMust(types.StringType, words)
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
}
