package provider

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

type bucketModel struct {
	ID         types.String `tfsdk:"id"`
	Name       types.String `tfsdk:"name"`
	Versioning types.Bool   `tfsdk:"versioning"`
	Tags       types.Map    `tfsdk:"tags"`
	Policy     types.String `tfsdk:"policy"`
	ETag       types.String `tfsdk:"etag"`
	AccessKey  types.String `tfsdk:"access_key"`
	Created    types.String `tfsdk:"created"`
}

func newBucket() resource.Resource {
	accessKey := computed("Key to its files.")
	accessKey.Sensitive = true
	return &crud[toycloud.Bucket, bucketModel, *bucketModel]{kind: toycloud.Buckets, schema: schema.Schema{
		MarkdownDescription: "A place for files.",
		Attributes: map[string]schema.Attribute{
			"id":   computed("Id that the cloud gave it."),
			"name": name(),
			"versioning": schema.BoolAttribute{
				Optional: true, Computed: true,
				Default:             booldefault.StaticBool(false),
				MarkdownDescription: "Whether old versions of files are kept. Default: false.",
			},
			"tags": schema.MapAttribute{
				Optional:            true,
				ElementType:         types.StringType,
				MarkdownDescription: "Names and values of your own.",
			},
			"policy": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "Who may do what with it: a JSON document.",
				Validators:          []validator.String{checked{"a policy", checkPolicy}},
			},
			// Without a plan modifier: it changes with every other attribute.
			"etag":       schema.StringAttribute{Computed: true, MarkdownDescription: "Fingerprint of all its attributes."},
			"access_key": accessKey,
			"created":    computed("When it was created, in RFC 3339."),
		},
	}}
}

func checkPolicy(policy string) error {
	if !json.Valid([]byte(policy)) {
		return errors.New("a policy is a JSON document: write it with jsonencode, or leave it out")
	}
	return nil
}

func (m *bucketModel) identity() (string, string) { return m.ID.ValueString(), m.Name.ValueString() }

func (m *bucketModel) wanted(ctx context.Context) (toycloud.Bucket, diag.Diagnostics) {
	o := toycloud.Bucket{
		Meta:       toycloud.Meta{Name: m.Name.ValueString()},
		Versioning: m.Versioning.ValueBool(),
		Policy:     m.Policy.ValueString(),
	}
	return o, m.Tags.ElementsAs(ctx, &o.Tags, false)
}

func (m *bucketModel) written(o toycloud.Bucket) {
	m.ID, m.ETag, m.Created = types.StringValue(o.ID), types.StringValue(o.ETag), createdAt(o.Meta)
	m.AccessKey = types.StringValue(o.AccessKey)
}

func (m *bucketModel) refreshed(ctx context.Context, o toycloud.Bucket) (diags diag.Diagnostics) {
	m.written(o)
	m.Name, m.Versioning, m.Policy = types.StringValue(o.Name), types.BoolValue(o.Versioning), orNull(o.Policy)
	m.Tags, diags = stringMap(ctx, o.Tags, m.Tags)
	return diags
}

func createdAt(m toycloud.Meta) types.String {
	return types.StringValue(m.Created.UTC().Format(time.RFC3339))
}
