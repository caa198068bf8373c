"""The HTML page: one file, no script, nothing fetched (its content security policy says so)."""

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #1d2329;
       background: #fff; margin: 0 auto; max-width: 940px; padding: 24px 20px 60px; }
h1 { font-size: 1.55em; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 1.2em; margin: 2.2em 0 .5em; border-bottom: 1px solid #cfd6dc; padding-bottom: .2em; }
.lead { font-size: 1.12em; border-left: 5px solid #0072B2; padding: .5em 0 .5em 1em; margin: 1.2em 0; }
.worse, .inconclusive { border-left-color: #D55E00; }
.unpaired, .unmeasured { border-left-color: #777; }
.warning { background: #fff4e5; border: 1px solid #e2a55a; border-radius: 4px; padding: .6em 1em;
           margin: .8em 0; }
.small { color: #56606a; font-size: .9em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3em 1.1em .3em 0; border-bottom: 1px solid #e3e8ec;
         vertical-align: top; }
thead th { border-bottom: 2px solid #9aa5af; font-size: .92em; }
td.n, th.n { text-align: right; }
data { white-space: nowrap; }
td code, .provenance td { overflow-wrap: anywhere; }
figure { margin: 1em 0 1.6em; }
figure img { max-width: 100%; width: 900px; height: auto; display: block; }
figcaption { color: #3d464f; font-size: .93em; max-width: 820px; margin-top: .5em; }
pre { background: #f4f6f8; padding: .8em 1em; overflow-x: auto; font-size: .85em; line-height: 1.45;
      white-space: pre-wrap; overflow-wrap: anywhere; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .93em; }
.bad { color: #a33c00; font-weight: 600; }
details { margin: .4em 0; } summary { cursor: pointer; }
nav a { margin-right: 1em; color: #005a8c; }
@media print { body { max-width: none; } figure, table { break-inside: avoid; } }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ result.detector }}: {{ result.objective or "design optimisation" }}</title>
<style>{{ style }}</style>
</head>
<body>
<h1>{{ result.detector }}</h1>
<p class="small">{{ facts | join(" · ") }}</p>
<p class="lead {{ verdict.kind }}" id="headline">{{ headline }}</p>
{% for warning in warnings %}<p class="warning" role="alert">{{ warning }}</p>
{% endfor %}
{% if objective %}
<h2 id="objective-table">Objective</h2>
<div class="scroll"><table class="objective">
<thead><tr><th>{{ result.objective or "objective" }} (smaller is better)</th><th class="n">value</th>
<th class="n">standard error</th></tr></thead>
<tbody>{% for row in objective %}
<tr><th scope="row">{{ row.label }}</th>
<td class="n"><data value="{{ row.value }}">{{ row.shown }}</data></td>
<td class="n">{% if row.error is none %}not measured{% else %}
<data value="{{ row.error }}">{{ row.shown_error }}</data>{% endif %}</td></tr>{% endfor %}
</tbody></table></div>
<p class="small">{{ objective_note }}</p>
{% endif %}
{% if design %}
<h2 id="design-table">Design</h2>
<div class="scroll"><table class="design">
<thead><tr><th>parameter</th><th class="n">initial</th><th class="n">final</th><th>unit</th>
<th class="n">change</th></tr>
</thead>
<tbody>{% for row in design %}
<tr><th scope="row"><code>{{ row.name }}</code></th>
<td class="n"><data value="{{ row.initial }}">{{ row.shown_initial }}</data></td>
<td class="n"><data value="{{ row.final }}">{{ row.shown_final }}</data></td>
<td>{{ row.unit }}</td><td class="n">{{ row.change }}</td></tr>{% endfor %}
</tbody></table></div>
{% for row in design if row.elements %}<details><summary>All values of <code>{{ row.name }}</code></summary>
<div class="scroll"><table class="elements"><thead><tr><th class="n">index</th><th class="n">initial</th>
<th class="n">final</th></tr></thead><tbody>{% for index, first, last in row.elements %}
<tr><td class="n">{{ index }}</td><td class="n">{{ first }}</td><td class="n">{{ last }}</td></tr>{% endfor %}
</tbody></table></div></details>{% endfor %}
{% endif %}
{% if constraints %}
<h2 id="constraints-table">Constraints at the reported design</h2>
<div class="scroll"><table class="constraints">
<thead><tr><th>constraint</th><th class="n">value</th><th class="n">limit</th><th>unit</th>
<th>satisfied</th></tr></thead>
<tbody>{% for row in constraints %}
<tr><th scope="row"><code>{{ row.name }}</code></th>
<td class="n"><data value="{{ row.value }}">{{ row.shown_value }}</data></td>
<td class="n"><data value="{{ row.limit }}">{{ row.shown_limit }}</data></td>
<td>{{ row.unit }}</td>
<td{% if row.satisfied == "no" %} class="bad"{% endif %}>{{ row.satisfied }}</td></tr>{% endfor %}
</tbody></table></div>
{% endif %}
{% if tolerance %}
<h2 id="tolerance-tables">How precisely it must be built</h2>
{% if tolerance.warning %}<p class="warning" role="alert">{{ tolerance.warning }}</p>
{% endif %}
<div class="scroll"><table class="tolerances">
<thead><tr><th>parameter</th><th class="n">value</th><th>unit</th><th>may be lower by</th><th>may be higher by</th>
<th>rms if all deviate</th><th>held by</th></tr></thead>
<tbody>{% for row in tolerance.parameters %}
<tr><th scope="row"><code>{{ row.name }}</code></th><td class="n">{{ row.value }}</td><td>{{ row.unit }}</td>
<td>{{ row.below }}</td><td>{{ row.above }}</td><td>{{ row.spread }}</td><td>{{ row.held }}</td></tr>{% endfor %}
</tbody></table></div>
<p class="small">For a loss of {{ tolerance.loss }} % of the objective. {{ tolerance.words }}</p>
{% if tolerance.limits %}
<div class="scroll"><table class="limits">
<thead><tr><th>limit</th><th class="n">value</th><th>state</th><th>relaxing it buys</th><th>by 1 %</th></tr></thead>
<tbody>{% for row in tolerance.limits %}
<tr><th scope="row"><code>{{ row.words }}</code></th><td class="n">{{ row.value }}</td><td>{{ row.state }}</td>
<td>{{ row.gain }}</td><td>{{ row.percent }}</td></tr>{% endfor %}
</tbody></table></div>
{% endif %}
{% if tolerance.directions %}
<div class="scroll"><table class="directions">
<thead><tr><th>direction</th><th>in half ranges</th><th>curvature</th><th>against it</th><th>along it</th></tr></thead>
<tbody>{% for row in tolerance.directions %}
<tr><th scope="row">{{ row.kind }}</th><td>{{ row.components }}</td><td>{{ row.curvature }}</td>
<td>{{ row.below }}</td><td>{{ row.above }}</td></tr>{% endfor %}
</tbody></table></div>
{% endif %}
{% endif %}
{% for figure in figures %}
<h2 id="{{ figure.name }}">{{ figure.title }}</h2>
<figure><img alt="{{ figure.title }}: {{ figure.caption }}" src="data:image/png;base64,{{ figure.image }}">
<figcaption>{{ figure.caption }} Numbers: <code>figures/{{ figure.name }}.csv</code>.</figcaption></figure>
{% endfor %}
<h2 id="provenance">Provenance</h2>
{% if command %}<p>To reproduce{% if result.seed is not none %} (seed {{ result.seed }}){% endif %}:</p>
<pre class="command">{{ command }}</pre>
{% else %}<p>The command line of this run was not recorded.</p>
{% endif %}
<p>To measure start and final design again with fresh seeds:</p>
<pre class="command">mode-opt verify {{ directory }}</pre>
<div class="scroll"><table class="provenance"><tbody>{% for key, text in provenance %}
<tr><th scope="row">{{ key }}</th><td>{{ text }}</td></tr>{% endfor %}
</tbody></table></div>
{% if configuration %}<details><summary>Configuration of this run (<code>.hydra/config.yaml</code>)</summary>
<pre class="configuration">{{ configuration }}</pre></details>
{% endif %}
{% if absent %}
<p class="small">Not in this report, because the run holds no data for it: {{ absent | join(", ") }}.</p>
{% endif %}
</body>
</html>
"""
