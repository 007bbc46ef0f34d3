"""The page's style sheet and script: no requests, light and dark, from a phone's width up."""

CSS = """
:root{--ink:#1d1f21;--soft:#5c6166;--line:#d8dbde;--paper:#fff;--tint:#f3f5f7;--right:#0072b2;--left:#b3701c;
--law:#d55e00;--control:#8a8a8a;--band:#00000012;--bad:#a3262a;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#e4e6e8;--soft:#a2a8ae;--line:#3a3f44;--paper:#16181a;--tint:#202326;
--right:#56b4e9;--left:#e9b04e;--law:#ff8a3c;--control:#9a9a9a;--band:#ffffff18;--bad:#ff8c8c}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:68rem;padding:1rem 1rem 4rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.5rem 0 .5rem;border-top:1px solid var(--line);padding-top:1rem}
h3{font-size:1rem;margin:1.5rem 0 .25rem}
a{color:var(--right)}p,li{max-width:46rem}small,.note,figcaption{color:var(--soft);font-size:.85rem}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:1rem 0;font-size:.9rem}
dl{display:grid;grid-template-columns:minmax(6rem,max-content) 1fr;gap:.1rem 1rem;margin:.5rem 0;font-size:.9rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.warnings{border-left:3px solid var(--bad);padding:.1rem 0 .1rem 1rem;margin:1rem 0}.bad{color:var(--bad)}
.scroll{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .6rem;text-align:right;border-bottom:1px solid var(--line);vertical-align:top;white-space:nowrap}
th{font-weight:600}thead th{vertical-align:bottom;white-space:normal}tbody th{font-weight:400}
.wide td{white-space:normal}.wide td,.wide th,th:first-child,td.text,th.text{text-align:left}
#all th,#all td{padding:.2rem .45rem}#all tbody th{white-space:normal;overflow-wrap:anywhere;min-width:15rem}
.pairs td:nth-child(2),.pairs th:nth-child(2){text-align:left}
th button{all:unset;cursor:pointer}th button:focus-visible{outline:2px solid var(--right)}
th[aria-sort=ascending] button::after{content:" ↑"}th[aria-sort=descending] button::after{content:" ↓"}
figure{margin:1.2rem 0}figure img{display:block;width:100%;min-width:34rem;max-width:60rem;height:auto;background:#fff;
border-radius:4px}
figcaption{max-width:46rem;margin-top:.3rem}
details{border-bottom:1px solid var(--line);padding:.25rem 0}summary{cursor:pointer;overflow-wrap:anywhere}
summary small{margin-left:.5rem}.pictures{display:flex;flex-wrap:wrap;gap:.5rem;margin:.5rem 0}
.pictures svg{flex:1 1 16rem;max-width:24rem;min-width:0;background:var(--tint);border-radius:4px}
svg text{font-size:8.5px;fill:var(--soft)}svg .t{font-size:10px;fill:var(--ink)}
svg path{fill:none;stroke-width:1.2}svg .axis{stroke:var(--soft);stroke-width:.6}
svg .bars{stroke:var(--right);fill:var(--right);fill-opacity:.25;stroke-width:.8}
svg path.right{stroke:var(--right)}svg path.left{stroke:var(--left)}svg path.law{stroke:var(--law)}
svg path.control{stroke:var(--control)}svg path.edge{stroke:var(--ink);stroke-dasharray:4 3;stroke-width:.7}
svg tspan.right{fill:var(--right)}svg tspan.left{fill:var(--left)}svg .band{fill:var(--band)}
input{font:inherit;padding:.2rem .5rem;width:100%;max-width:24rem;color:inherit;background:var(--tint);
border:1px solid var(--line);border-radius:4px}
code{font-size:.9em;overflow-wrap:anywhere}
@media print{details:not([open])>*:not(summary){display:none}}
"""

SCRIPT = """
const table=document.getElementById('all');
if(table){
const body=table.tBodies[0];
const value=(row,i)=>{const c=row.cells[i],t=c.dataset.v??c.textContent.trim();return t===''||isNaN(t)?t:Number(t)};
table.querySelectorAll('thead button').forEach((button,i)=>button.addEventListener('click',()=>{
const th=button.parentElement,up=th.getAttribute('aria-sort')==='descending';
table.querySelectorAll('th[aria-sort]').forEach(x=>x.removeAttribute('aria-sort'));
th.setAttribute('aria-sort',up?'ascending':'descending');
const rows=[...body.rows].sort((a,b)=>{const x=value(a,i),y=value(b,i),d=typeof x===typeof y?
(typeof x==='number'?x-y:x.localeCompare(y)):typeof x==='number'?1:-1;return up?d:-d});
body.append(...rows)}));
document.getElementById('filter').addEventListener('input',e=>{const q=e.target.value.toLowerCase();
for(const row of body.rows)row.hidden=!row.textContent.toLowerCase().includes(q)});
}
const open=()=>{const d=document.getElementById(decodeURIComponent(location.hash.slice(1)));
if(d&&d.tagName==='DETAILS'){d.open=true;d.scrollIntoView()}};
addEventListener('hashchange',open);open();
"""
