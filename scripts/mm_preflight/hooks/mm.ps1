# mm asks mm-preflight before it drops vectors. Anything else goes straight on.
Remove-Item 'Alias:mm', 'Alias:memtomem' -Force -ErrorAction Ignore
function mm {
    $first = $MyInvocation.MyCommand.Name; $more = @()
    if ("$args" -clike '*embedding-reset*apply-current*') { $more = @('--', $first); $first = 'mm-preflight' }
    $program = Get-Command $first -CommandType Application -ErrorAction Ignore | Select-Object -First 1
    if (-not $program) { [Console]::Error.WriteLine("mm-preflight: refused, $first is not on PATH; install it again"); $global:LASTEXITCODE = 2; return }
    if ($MyInvocation.ExpectingInput) { $input | & $program @more @args } else { & $program @more @args }
}
$function:memtomem = $function:mm
