-- Lists of any length to one command, some hundreds at a time.
local function write(command, key, list, n)
  if n <= 2 * PAGE then
    if n > 0 then call(command, key, unpack(list, 1, n)) end
    return
  end
  for from = 1, n, 2 * PAGE do
    local to = from + 2 * PAGE - 1
    if to > n then to = n end
    call(command, key, unpack(list, from, to))
  end
end

local function names(set)
  local list, n = {}, 0
  for name in pairs(set) do
    n = n + 1
    list[n] = name
  end
  return list, n
end
