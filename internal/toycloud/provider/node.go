package provider

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

type nodeModel struct {
	ID      types.String `tfsdk:"id"`
	Cluster types.String `tfsdk:"cluster"`
	Name    types.String `tfsdk:"name"`
	Size    types.String `tfsdk:"size"`
	Image   types.String `tfsdk:"image"`
	Pool    types.String `tfsdk:"pool"`
	Labels  types.Map    `tfsdk:"labels"`
	Address types.String `tfsdk:"address"`
	Created types.String `tfsdk:"created"`
}

func newNode() resource.Resource {
	return &crud[toycloud.Node, nodeModel, *nodeModel]{kind: toycloud.Nodes, schema: schema.Schema{
		MarkdownDescription: "A machine of a cluster.",
		Attributes: map[string]schema.Attribute{
			"id":      computed("Id that the cloud gave it."),
			"cluster": fixed("Id or name of its cluster."),
			"name":    name(),
			"size":    fixed("`small`, `medium` or `large`.", checked{"a size of a node", checkNodeSize}),
			"image": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "What it starts from: the `reference` of a `toy_image`. A change replaces it.",
				PlanModifiers:       []planmodifier.String{stringplanmodifier.RequiresReplace()},
			},
			"pool": schema.StringAttribute{
				Optional: true, Computed: true,
				Default:             stringdefault.StaticString("default"),
				MarkdownDescription: "Group of nodes that it belongs to. Default: `default`.",
			},
			"labels": schema.MapAttribute{
				Optional:            true,
				ElementType:         types.StringType,
				MarkdownDescription: "Names and values of your own.",
			},
			"address": computed("Address that the cloud gave it."),
			"created": computed("When it was created, in RFC 3339."),
		},
	}}
}

func checkNodeSize(size string) error {
	if sizes := toycloud.NodeSizes(); !slices.Contains(sizes, size) {
		return fmt.Errorf("%q is no size of a node: use one of %v", size, sizes)
	}
	return nil
}

func (m *nodeModel) identity() (string, string) { return m.ID.ValueString(), m.Name.ValueString() }

func (m *nodeModel) wanted(ctx context.Context) (toycloud.Node, diag.Diagnostics) {
	o := toycloud.Node{
		Meta:    toycloud.Meta{Name: m.Name.ValueString()},
		Cluster: m.Cluster.ValueString(),
		Size:    m.Size.ValueString(),
		Image:   m.Image.ValueString(),
		Pool:    m.Pool.ValueString(),
	}
	return o, m.Labels.ElementsAs(ctx, &o.Labels, false)
}

func (m *nodeModel) written(o toycloud.Node) {
	m.ID, m.Address, m.Created = types.StringValue(o.ID), types.StringValue(o.Address), createdAt(o.Meta)
}

func (m *nodeModel) refreshed(ctx context.Context, o toycloud.Node) (diags diag.Diagnostics) {
	m.written(o)
	m.Cluster, m.Name, m.Size = types.StringValue(o.Cluster), types.StringValue(o.Name), types.StringValue(o.Size)
	m.Image, m.Pool = orNull(o.Image), types.StringValue(o.Pool)
	m.Labels, diags = stringMap(ctx, o.Labels, m.Labels)
	return diags
}
