package provider

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

// model is the attributes of one resource, as Terraform has them. O is the same thing as the toy cloud has it.
type model[O any] interface {
	// identity returns the id, empty before creation, and the name for messages.
	identity() (id, name string)

	// wanted returns what Terraform wants the object to be.
	wanted(ctx context.Context) (O, diag.Diagnostics)

	// written takes over, after a creation or update, only what the cloud decides: Terraform insists that all else is
	// what it planned, and where the cloud thinks otherwise the next refresh tells.
	written(o O)

	// refreshed takes over everything.
	refreshed(ctx context.Context, o O) diag.Diagnostics
}

// crud is a resource of which M is the model and O the object of the toy cloud's API.
type crud[O, M any, P interface {
	*M
	model[O]
}] struct {
	kind   toycloud.Kind
	schema schema.Schema
	client *client
}

// Metadata names the resource type.
func (r *crud[O, M, P]) Metadata(_ context.Context, req resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_" + r.kind.One()
}

// Schema describes the resource's attributes.
func (r *crud[O, M, P]) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = r.schema
}

// Configure takes over the provider's client. Terraform calls it without one to validate.
func (r *crud[O, M, P]) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	r.client, _ = req.ProviderData.(*client)
}

// Create makes the object.
func (r *crud[O, M, P]) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	m := P(new(M))
	resp.Diagnostics.Append(req.Plan.Get(ctx, m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	in, diags := m.wanted(ctx)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	var out O
	if err := r.client.create(ctx, r.kind, in, &out); err != nil {
		diagnose(ctx, r.client, &resp.Diagnostics, "create "+r.what(m), err, &req.Plan)
		return
	}
	m.written(out)
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
}

// Read brings the state up to date with the cloud. An object that is gone leaves the state, so that a plan shows it as
// one to create.
func (r *crud[O, M, P]) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	m := P(new(M))
	resp.Diagnostics.Append(req.State.Get(ctx, m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	id, _ := m.identity()
	var out O
	err := r.client.read(ctx, r.kind, id, &out)
	if isMissing(err) {
		resp.State.RemoveResource(ctx)
		return
	}
	if err != nil {
		diagnose(ctx, r.client, &resp.Diagnostics, "read "+r.what(m), err, nil)
		return
	}
	resp.Diagnostics.Append(m.refreshed(ctx, out)...)
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
}

// Update changes the object in place.
func (r *crud[O, M, P]) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	m := P(new(M))
	resp.Diagnostics.Append(req.Plan.Get(ctx, m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	in, diags := m.wanted(ctx)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	id, _ := m.identity()
	var out O
	if err := r.client.update(ctx, r.kind, id, in, &out); err != nil {
		if isMissing(err) {
			err = fmt.Errorf("%w; it was deleted since the plan was made, so plan again", err)
		}
		diagnose(ctx, r.client, &resp.Diagnostics, "update "+r.what(m), err, &req.Plan)
		return
	}
	m.written(out)
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
}

// Delete removes the object.
func (r *crud[O, M, P]) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	m := P(new(M))
	resp.Diagnostics.Append(req.State.Get(ctx, m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	id, _ := m.identity()
	if err := r.client.delete(ctx, r.kind, id); err != nil {
		diagnose(ctx, r.client, &resp.Diagnostics, "delete "+r.what(m), err, nil)
	}
}

// ImportState begins with an object's id; Read does the rest.
func (r *crud[O, M, P]) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	resource.ImportStatePassthroughID(ctx, path.Root("id"), req, resp)
}

func (r *crud[O, M, P]) what(m P) string {
	id, name := m.identity()
	if name == "" { // in an import
		name = id
	}
	return fmt.Sprintf("the %s %q", r.kind.One(), name)
}

// checked validates a string with a function that says what is wrong.
type checked struct {
	what  string
	check func(string) error
}

// Description says what is expected.
func (v checked) Description(context.Context) string { return v.what }

// MarkdownDescription says what is expected.
func (v checked) MarkdownDescription(context.Context) string { return v.what }

// ValidateString reports what is wrong with a value that is known.
func (v checked) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if err := v.check(req.ConfigValue.ValueString()); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Not "+v.what, sentence(err.Error()))
	}
}

// computed is an attribute that the cloud sets once.
func computed(description string) schema.StringAttribute {
	return schema.StringAttribute{
		Computed:            true,
		MarkdownDescription: description,
		PlanModifiers:       []planmodifier.String{stringplanmodifier.UseStateForUnknown()},
	}
}

// fixed is a required attribute whose change makes a new object.
func fixed(description string, checks ...validator.String) schema.StringAttribute {
	return schema.StringAttribute{
		Required:            true,
		MarkdownDescription: description + " A change replaces it.",
		PlanModifiers:       []planmodifier.String{stringplanmodifier.RequiresReplace()},
		Validators:          checks,
	}
}

func name() schema.StringAttribute {
	return fixed("Name of it: up to 63 lower-case letters, digits and dashes.", checked{"a name", toycloud.CheckName})
}

// orNull is the value of an attribute that the cloud writes as "" when it is not set.
func orNull(s string) types.String {
	if s == "" {
		return types.StringNull()
	}
	return types.StringValue(s)
}

// stringMap is the value of a map attribute. The cloud does not tell an empty map from none; was, the value before,
// does.
func stringMap(ctx context.Context, m map[string]string, was types.Map) (types.Map, diag.Diagnostics) {
	if len(m) == 0 {
		if was.IsNull() {
			return was, nil
		}
		return types.MapValue(types.StringType, map[string]attr.Value{})
	}
	return types.MapValueFrom(ctx, types.StringType, m)
}
